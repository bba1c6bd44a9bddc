"""The whole platform on one machine: its places, ports, processes, and what they need to find."""
