"""Readers of checkpoint files, which are treated as data: they locate every tensor in a file and execute nothing.

A container's reader returns a `TensorMap`; `MappedState` turns it into arrays, one at a time, when they are requested.
"""

from parity.containers.archive import is_archive, read_archive
from parity.containers.legacy import read_legacy
from parity.containers.mapped import MappedState
from parity.containers.safetensors import holds_safetensors, is_safetensors, read_safetensors
from parity.containers.tensor_map import StoredArray, TensorMap, file_size
from parity.containers.wrapped import Inside, Selection

__all__ = [
    "Inside",
    "MappedState",
    "Selection",
    "StoredArray",
    "TensorMap",
    "file_size",
    "holds_safetensors",
    "is_archive",
    "is_safetensors",
    "read_archive",
    "read_legacy",
    "read_safetensors",
]
