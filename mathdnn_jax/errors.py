"""The errors of the library, by name.

Every message says what was given, what was expected, and what to do about it. All of them derive from
`MathdnnError`, so that a program (the command line is one) can tell a mistake it may explain from a bug.
"""

from __future__ import annotations


class MathdnnError(Exception):
    """Base of every error that this library raises on purpose."""

    exit_code = 2
    """What a command that ends with this error returns."""


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
