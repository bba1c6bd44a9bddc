"""Types, names and errors that all rooms share; imports nothing of ours."""
