"""Certificates: evidence, layer by layer, that two networks compute the same."""
