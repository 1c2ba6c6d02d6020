"""JAX and PyTorch on the same work, in one process and one run: `python -m benchmarks nice`.

Outputs are compared before anything is timed, the frameworks take turns, and each is shown beside the rate at which
it multiplies large matrices on the same machine. No part of the library; it runs from a clone, not installed.
"""
