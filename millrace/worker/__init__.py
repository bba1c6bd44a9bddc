"""The worker of warm pools: runs are forked from a process that has imported the libraries and the flows' modules."""
