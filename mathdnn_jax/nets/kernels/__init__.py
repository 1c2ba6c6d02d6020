"""The algorithms behind the layers: one formulation of a matrix product or a convolution per file."""
