"""The errors and warnings of `parity`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mathdnn_jax.errors import ConfigurationError, MathdnnError, MathdnnWarning
from parity.display import printable


class ParityError(MathdnnError):
    """Base class of every error in reading, converting or certifying a checkpoint."""

    def __str__(self) -> str:
        """Return the message, with escapes for all characters that would act on a terminal: files choose names."""
        return printable(str(self.args[0])) if self.args else ""


class CheckpointError(ParityError, ValueError):
    """The checkpoint file cannot be read as a mapping from names to arrays."""


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """There is no such file."""


class MissingShardError(CheckpointNotFoundError):
    """A file of a checkpoint in parts, or their index, is not there; the message says which."""


class UnreadableCheckpointError(CheckpointError, OSError):
    """The operating system fails to read the file, or the file is too large for the memory of this machine."""


class UnsupportedCheckpointError(CheckpointError):
    """The file may well be whole, but it is of another kind, or asks for more work than its size warrants."""


class CorruptCheckpointError(CheckpointError):
    """The file is damaged: truncated, altered since it was written, or not a checkpoint at all."""


class UnsafeCheckpointError(CheckpointError):
    """The file asks for more than tensors in plain containers; none of its code was run."""


class NotAStateDictError(CheckpointError):
    """The file is readable, but it does not hold a mapping from names to dense tensors that can be chosen."""


class AmbiguousCheckpointError(NotAStateDictError):
    """The file holds several dictionaries of tensors; the message lists them, and `inside=` chooses one."""


class WrappedCheckpointWarning(MathdnnWarning):
    """The state was found inside other dictionaries; the message says what was taken and what was left."""


class UnknownModelError(ParityError, ValueError):
    """There is no model of this name in `parity.MODELS`."""


class ConversionError(ParityError, ValueError):
    """The arrays cannot be converted one to one.

    The class raised is that of the first kind of problem found; the message lists all problems of all kinds.
    """


class WrongModelError(ConversionError):
    """The checkpoint belongs to another model."""


class RuleTableError(ConversionError):
    """The rule table itself is wrong, for example if it fills a target twice or not at all."""


class DoublyUsedKeysError(ConversionError):
    """A source key is used twice, or both used and ignored."""


class MissingKeysError(ConversionError):
    """Arrays that the model needs are missing."""


class UnexpectedKeysError(ConversionError):
    """There are arrays for which the model has no place."""


class ShapeMismatchError(ConversionError):
    """Arrays have shapes other than the model's."""


class UnsupportedDtypeError(ConversionError):
    """Weights have a dtype that cannot be converted unchanged."""


class NonFiniteWeightsError(ConversionError):
    """Weights are NaN or infinite."""


class CertificationError(ParityError, AssertionError):
    """The two networks differ by more than rounding; the certificate says where."""

    exit_code = 1

    def __init__(self, message: str, certificate: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.certificate = certificate


class OutputStructureError(ParityError, ValueError):
    """Two networks do not return the same tree with the same kinds of numbers, so their outputs cannot be compared."""


class AmbiguousLayoutError(ParityError, ConfigurationError):
    """An array may have its channels first or not, and its shape does not tell; the message says how to declare it."""


class AmbiguousRulesError(ConversionError):
    """Rules cannot be inferred because several fit; the message lists the candidates."""


class UnmatchedArraysError(ConversionError):
    """Rules cannot be inferred because arrays of one side fit none of the other."""
