"""The errors and warnings of the library.

Every message says what was given, what was expected, and what to do about it. All errors derive from `MathdnnError`, so
that a program, such as the command line, can tell a mistake that it can explain from a bug.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def _rebuilt(kind: type[BaseException], arguments: tuple[Any, ...]) -> BaseException:
    # The built-in class whose memory layout it has; of several, `kind.__new__` may be another's.
    built_in: Any = kind
    while built_in.__module__ != "builtins":
        built_in = built_in.__base__
    error: BaseException = built_in.__new__(kind, *arguments)
    error.args = arguments
    return error


class MathdnnError(Exception):
    """The base class of every error that this library raises on purpose."""

    exit_code = 2
    """The exit code of a command that ends with this error."""

    def __reduce__(self) -> tuple[Callable[..., BaseException], tuple[Any, ...], dict[str, Any]]:
        """Pickle attributes as they are, since the arguments of a class's own constructor are not `args`."""
        return _rebuilt, (type(self), self.args), self.__dict__


class MathdnnWarning(UserWarning):
    """The base class of every warning of this library: something was done that its user should know about."""


class ConfigurationError(MathdnnError, ValueError):
    """The arguments of a function do not describe a valid object or task."""


class EventShapeError(MathdnnError, ValueError):
    """The trailing axes of an array are not the event that a map or density is defined on."""


class DomainError(MathdnnError, ValueError):
    """A number lies outside the domain of a function: a negative density, a weight that is not positive, NaN."""


class CovarianceError(MathdnnError, ValueError):
    """A matrix is not a covariance, or is too ill-conditioned for its dtype."""


class SupportError(MathdnnError, ValueError):
    """A proposal has no mass where the target has some, so that a weight is infinite."""


class ParameterStructureError(MathdnnError, ValueError):
    """A parameter tree does not have the names that a map expects."""


class ImageError(MathdnnError, ValueError):
    """Images have the wrong size, type or range of values."""


class OutOfRangeError(MathdnnError, ValueError):
    """A value lies outside the range of the function that is to be inverted."""


class DataSetError(MathdnnError, ValueError):
    """A data set has too few examples for its purpose."""


class NonFiniteError(MathdnnError, ArithmeticError):
    """A computed quantity is NaN or infinite where a number is needed."""


class DataUnavailableError(MathdnnError, OSError):
    """The files of a data set are missing or damaged and could not be obtained."""


class MissingDependencyError(MathdnnError, ImportError):
    """An optional dependency is not installed."""


class OutputError(MathdnnError, OSError):
    """A file could not be written."""


class FolderInUseError(OutputError):
    """Another process writes to the same folder."""


class UnpicklableError(MathdnnError, TypeError):
    """An object holds functions that exist in this process only, so that it cannot be sent to another one."""


class ProcessesError(ConfigurationError, RuntimeError):
    """The processes that train together have not all met, or one of them was lost."""


class BijectorCheckError(MathdnnError, AssertionError):
    """A map is not the bijector, with the log-determinant, that it claims to be. The message shows the smallest case.

    Attributes:
        check: the name of the check that failed ("log_det", "round_trip", "float32", …).
        direction: "forward" or "inverse".
        event: the event of the case, as a NumPy array, or None if the failure does not depend on one (a wrong shape).
        params: the parameters of the case, likewise.
        context: the context of the case, likewise.
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
    """Training met a loss or a gradient that is NaN or infinite, and stopped before the update.

    Attributes:
        step: the index of the update that was not made, from 0, over the whole run.
        epoch: the index of its epoch, from 0.
        batch: the index of its batch within the epoch, from 0.
        checkpoint: the last good checkpoint, or None if none was written.
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
    """A training run cannot be continued from a checkpoint, which is damaged or belongs to another run.

    Attributes:
        older: the steps of the other checkpoints in the folder, newest first, which can be used instead.
    """

    def __init__(self, message: str, older: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.older = older


class UnsavedError(OutputError):
    """A checkpoint could not be written, because the disk is full, say. Training stopped there, and nothing is lost.

    Attributes:
        checkpoint: the last checkpoint that was written, or None.
        result: a `FitResult` with everything as it was when the failure was noticed.
    """

    def __init__(self, message: str, *, checkpoint: Path | None = None, result: Any = None) -> None:
        super().__init__(message)
        self.checkpoint, self.result = checkpoint, result


class TrainingStoppedError(MathdnnError):
    """Training stopped between two steps because it was asked to, by a signal, say. Nothing is lost.

    Attributes:
        step: the number of completed steps, over the whole run.
        epoch: the number of completed epochs.
        checkpoint: the checkpoint that holds all of it, or None if the run writes none.
        result: a `FitResult` with everything as it was.
    """

    def __init__(
        self, message: str, *, step: int, epoch: int, checkpoint: Path | None = None, result: Any = None
    ) -> None:
        super().__init__(message)
        self.step, self.epoch = step, epoch
        self.checkpoint, self.result = checkpoint, result
