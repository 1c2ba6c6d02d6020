"""JAX's side and PyTorch's side of a comparison."""
