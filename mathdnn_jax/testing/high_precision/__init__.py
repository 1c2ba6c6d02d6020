"""Evaluation of a map's program in high precision, for log-determinants and inverses that float64 cannot judge.

JAX traces the map together with its Jacobian, and `mpmath` evaluates the traced program with as many digits as the case
needs. `mpmath` is imported when the first case calls for it.
"""
