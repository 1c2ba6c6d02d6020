"""Evaluation of a map's program in high precision, for log-determinants and inverses that float64 cannot decide.

JAX traces the map together with its Jacobian, and `mpmath` evaluates the traced program with as many digits as the case
needs. `mpmath` is imported when it is first needed.
"""
