"""What can be wrong with a checkpoint, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mathdnn_jax.errors import MathdnnError, MathdnnWarning


class ParityError(MathdnnError):
    """Base of every error in reading, converting or certifying a checkpoint."""


class CheckpointError(ParityError, ValueError):
    """A checkpoint file cannot be read as a mapping from names to arrays."""


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """There is no such file."""

    def __str__(self) -> str:
        """The message alone: FileNotFoundError would format it as a system error."""
        return str(self.args[0])


class CorruptCheckpointError(CheckpointError):
    """The file is damaged: truncated, altered since it was written, or not a checkpoint at all."""


class UnsafeCheckpointError(CheckpointError):
    """The file asks for more than tensors in plain containers; nothing of it was run."""


class NotAStateDictError(CheckpointError):
    """The file is readable and holds no mapping from names to dense tensors, or none that can be chosen."""


class AmbiguousCheckpointError(NotAStateDictError):
    """The file holds several dictionaries of tensors; the message lists them, and `inside=` chooses."""


class WrappedCheckpointWarning(MathdnnWarning):
    """A file's state was found inside other dictionaries; what was taken and what was left is the message."""


class UnknownModelError(ParityError, ValueError):
    """No conversion is known under this name."""


class ConversionError(ParityError, ValueError):
    """Arrays cannot be carried over one to one.

    The class raised is that of the first kind of problem found, and the message lists all problems of all kinds.
    """


class WrongModelError(ConversionError):
    """The checkpoint is of another model."""


class RuleTableError(ConversionError):
    """A rule table itself is wrong: a target twice or not at all."""


class DoublyUsedKeysError(ConversionError):
    """A source key is asked for twice, or both used and ignored."""


class MissingKeysError(ConversionError):
    """Arrays that the model needs are not there."""


class UnexpectedKeysError(ConversionError):
    """Arrays are there that the model has no place for."""


class ShapeMismatchError(ConversionError):
    """Arrays have another shape than the model's."""


class UnsupportedDtypeError(ConversionError):
    """Weights are in a type that cannot be carried over unchanged."""


class NonFiniteWeightsError(ConversionError):
    """Weights are NaN or infinite."""


class CertificationError(ParityError, AssertionError):
    """The two networks differ by more than rounding; the certificate says where."""

    exit_code = 1

    def __init__(self, message: str, certificate: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.certificate = certificate


class AmbiguousRulesError(ConversionError):
    """Rules cannot be inferred, since several fit; the message lists the candidates."""


class UnmatchedArraysError(ConversionError):
    """Rules cannot be inferred, since arrays of one side fit none of the other."""
