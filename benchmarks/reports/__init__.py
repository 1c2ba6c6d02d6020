"""Results as tables, pages and pictures, and comparisons of two runs; they need no PyTorch."""
