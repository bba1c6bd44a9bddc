"""The whole platform on one machine: its state directory, ports and processes, and the resources they use."""
