"""Errors of the benchmarks, beyond those of the library."""

from __future__ import annotations

from mathdnn_jax.errors import MathdnnError


class OutputsDifferError(MathdnnError, AssertionError):
    """Contenders of the same case do not compute the same."""


class NoBaselineError(MathdnnError, RuntimeError):
    """None of a case's PyTorch baselines can run here."""


class ProfileError(MathdnnError, RuntimeError):
    """A profiler saw nothing of the device that the work runs on."""


class ResultsError(MathdnnError, ValueError):
    """A file does not hold the results of a run, or a page has no place for them."""


class PlanError(MathdnnError, ValueError):
    """A run on a GPU was asked for steps or cases that do not exist."""
