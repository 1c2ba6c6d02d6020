"""The layers of a sequential network, one kind per file."""
