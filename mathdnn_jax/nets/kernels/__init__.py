"""The programs that layers compute by: one formulation of a product or a convolution a file."""
