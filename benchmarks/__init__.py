"""JAX and PyTorch on the same work, in one process and one run: `python -m benchmarks run`.

Outputs are compared before anything is timed, the contenders take turns, and each is shown beside the rates that the
same machine reaches on large products, convolutions and copies. No part of the library; it runs from a clone, not
installed.
"""
