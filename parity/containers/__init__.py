"""The files that checkpoints come in, each read as data: where in the file every tensor lies, and nothing is run.

A container's reader returns a `TensorMap`; `MappedState` turns it into arrays, one at a time, when they are asked for.
"""

from parity.containers.archive import is_archive, read_archive
from parity.containers.tensor_map import TensorMap, StoredArray, file_size
from parity.containers.legacy import read_legacy
from parity.containers.mapped import MappedState
from parity.containers.safetensors import is_safetensors, read_safetensors
from parity.containers.wrapped import Inside, Selection

__all__ = [
    "Inside",
    "TensorMap",
    "MappedState",
    "StoredArray",
    "Selection",
    "file_size",
    "is_archive",
    "is_safetensors",
    "read_archive",
    "read_legacy",
    "read_safetensors",
]
