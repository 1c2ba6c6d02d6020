"""The checker against bijectors that nobody here wrote, and against wrong ones that somebody here did."""
