"""Evidence that two networks compute the same, layer by layer."""
