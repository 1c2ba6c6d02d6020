"""The files that checkpoints come in, each read as data: where in the file every tensor lies, and nothing is run.

A container's reader returns a `Layout`; `MappedState` turns it into arrays, one at a time, when they are asked for.
"""

from parity.containers.archive import is_archive, read_archive
from parity.containers.layout import Layout, Placed, file_size
from parity.containers.legacy import read_legacy
from parity.containers.mapped import MappedState
from parity.containers.safetensors import is_safetensors, read_safetensors
from parity.containers.wrapped import Inside, Taken

__all__ = [
    "Inside",
    "Layout",
    "MappedState",
    "Placed",
    "Taken",
    "file_size",
    "is_archive",
    "is_safetensors",
    "read_archive",
    "read_legacy",
    "read_safetensors",
]
