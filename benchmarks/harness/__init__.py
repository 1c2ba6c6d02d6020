"""Timing cases: agreement of results, interleaved samples, limits of the machine, profiles, the results file."""
