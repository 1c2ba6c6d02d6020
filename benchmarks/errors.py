"""What can go wrong in a benchmark beyond the library's own errors."""

from __future__ import annotations

from mathdnn_jax.errors import MathdnnError


class OutputsDifferError(MathdnnError, AssertionError):
    """Two programs that are to be timed against each other do not compute the same."""


class NoBaselineError(MathdnnError, RuntimeError):
    """None of a case's PyTorch baselines can run here."""


class ProfileError(MathdnnError, RuntimeError):
    """A profiler saw nothing of the device that the work runs on."""


class ResultsError(MathdnnError, ValueError):
    """A file does not have the results of a run."""


class PlanError(MathdnnError, ValueError):
    """A run on a GPU is asked for steps that its plan does not have."""
