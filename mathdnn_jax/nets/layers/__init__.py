"""The layers of a sequential network, one kind a file."""
