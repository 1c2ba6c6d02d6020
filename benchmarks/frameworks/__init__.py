"""The two sides of a comparison, JAX's and PyTorch's."""
