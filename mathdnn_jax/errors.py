"""The errors of the library, by name.

Every message says what was given, what was expected, and what to do about it. All of them derive from
`MathdnnError`, so that a program (the command line is one) can tell a mistake it may explain from a bug.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


class MathdnnError(Exception):
    """Base of every error that this library raises on purpose."""

    exit_code = 2
    """What a command that ends with this error returns."""


class MathdnnWarning(UserWarning):
    """Base of every warning that this library gives: something was done that its user should know of."""


class ConfigurationError(MathdnnError, ValueError):
    """A constructor was given arguments that describe no valid object."""


class EventShapeError(MathdnnError, ValueError):
    """An array's trailing axes are not the event that the map or density is defined on."""


class DomainError(MathdnnError, ValueError):
    """A number lies outside the domain of the function: a negative density, a weight that is not positive, NaN."""


class CovarianceError(MathdnnError, ValueError):
    """A matrix is no covariance, or one too ill-conditioned for its dtype."""


class SupportError(MathdnnError, ValueError):
    """A proposal gives no mass where the target has some, so that a weight is infinite."""


class ParameterStructureError(MathdnnError, ValueError):
    """A parameter tree does not have the names that the map expects."""


class ImageError(MathdnnError, ValueError):
    """Images have the wrong size, type or range of values."""


class OutOfRangeError(MathdnnError, ValueError):
    """A value lies outside the range of the function that is to be inverted."""


class DataSetError(MathdnnError, ValueError):
    """A data set has too few examples for what is asked of it."""


class NonFiniteError(MathdnnError, ArithmeticError):
    """A computed quantity is NaN or infinite where a number is needed."""


class DataUnavailableError(MathdnnError, OSError):
    """A data set's files are absent or damaged and could not be obtained."""


class MissingDependencyError(MathdnnError, ImportError):
    """An optional dependency is not installed."""


class OutputError(MathdnnError, OSError):
    """A file could not be written."""


class BijectorCheckError(MathdnnError, AssertionError):
    """A map is not the bijector with the log-determinant that it claims to be; the message shows the smallest case.

    - `check`: which check failed, by name ("log_det", "round_trip", "float32", …);
    - `direction`: "forward" or "inverse";
    - `event`, `params`, `context`: the case, as NumPy arrays; None where the failure needs none (a wrong shape).
    """

    def __init__(
        self,
        message: str,
        *,
        check: str = "",
        direction: str = "",
        event: object = None,
        params: object = None,
        context: object = None,
    ) -> None:
        super().__init__(message)
        self.check = check
        self.direction = direction
        self.event = event
        self.params = params
        self.context = context


class DivergedError(NonFiniteError):
    """Training met a loss or a gradient that is NaN or infinite, and stopped before that update was made.

    Attributes:
        step: the update that was not made, counted from 0 over the whole run.
        epoch: the epoch it belongs to, from 0.
        batch: its batch within the epoch, from 0.
        checkpoint: the last good checkpoint, or None where none was written.
        result: a `FitResult` with everything as it was before that update.
    """

    exit_code = 1

    def __init__(
        self, message: str, *, step: int, epoch: int, batch: int, checkpoint: Path | None = None, result: Any = None
    ) -> None:
        super().__init__(message)
        self.step, self.epoch, self.batch = step, epoch, batch
        self.checkpoint, self.result = checkpoint, result


class ResumeError(MathdnnError, ValueError):
    """A training run cannot be continued from a checkpoint: it is damaged, or belongs to another run.

    Attributes:
        older: the steps of the other checkpoints in the folder, newest first, that can be asked for instead.
    """

    def __init__(self, message: str, older: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.older = older


class UnsavedError(OutputError):
    """A checkpoint could not be written: the disk is full, say. Training stopped there, and nothing is lost.

    Attributes:
        checkpoint: the last checkpoint that was written, or None.
        result: a `FitResult` with everything as it was when the failure was noticed.
    """

    def __init__(self, message: str, *, checkpoint: Path | None = None, result: Any = None) -> None:
        super().__init__(message)
        self.checkpoint, self.result = checkpoint, result
