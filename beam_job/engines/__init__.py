"""Runners of the steps: plain Python, Beam in process, Dataflow; a batch in, its reports in the lake out."""
