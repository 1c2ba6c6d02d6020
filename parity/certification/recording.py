"""What a PyTorch module computed, written to a file, so that a JAX network is certified where PyTorch is not installed.

The file is a `.npz` archive of plain arrays and one JSON document, which names them; nothing in it is executed when it
is read.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mathdnn_jax.files import check_writable, replace_file
from mathdnn_jax.versions import versions
from parity.capture import Place
from parity.certification.inputs import Arguments, in_torch_layout, read_arguments
from parity.certification.packing import pack, unpack
from parity.containers.checkpoint import to_numpy
from parity.errors import CheckpointNotFoundError, CorruptCheckpointError
from parity.nested import Outline

FORMAT = "mathdnn recording 1"
DOCUMENT = "document"


class Run(NamedTuple):
    """What a module's layers take and return in one precision, and the tree of its output."""

    values: dict[Place, np.ndarray]
    tree: Outline


class Description(NamedTuple):
    """What a certificate needs to know of a PyTorch module besides what it computes.

    `name` is its class, `state` its state dict, `kinds` has the class of every submodule, and `parameters` is how many
    numbers its parameters have.
    """

    name: str
    state: dict[str, np.ndarray]
    kinds: dict[str, str]
    parameters: int


class Recording(NamedTuple):
    """A PyTorch module's description, the inputs in JAX's and in PyTorch's layout, and both of its runs.

    `versions` are those with which it was recorded.
    """

    module: Description
    arguments: Arguments
    torch_arguments: Arguments
    single: Run
    double: Run
    versions: dict[str, str]


def describe(module: Any) -> Description:
    """Return the description of a PyTorch module."""
    return Description(
        type(module).__name__,
        {name: to_numpy(value) for name, value in module.state_dict().items()},
        {name: _kind(submodule) for name, submodule in module.named_modules()},
        sum(int(parameter.numel()) for parameter in module.parameters()),
    )


def _kind(module: Any) -> str:
    """Return the name of a module's class, with its own module if PyTorch has another class of that name."""
    import torch

    kind = type(module)
    theirs = getattr(torch.nn, kind.__name__, kind)
    return kind.__name__ if theirs is kind else f"{kind.__module__}.{kind.__name__}"


def record(torch_module: Any, inputs: Any, path: str | os.PathLike[str], *, torch_inputs: Any = None) -> Path:
    """Run a PyTorch module in eval mode in float32 and in float64, and write down what all its layers take and return.

    `certify(path, apply, variables)` then compares a JAX network with the recording, on any machine: PyTorch is not
    needed there, nor the version of Python that it needs. The file has the module's state dict, the inputs, and twelve
    bytes for each number that a layer takes or returns, so record a small batch.

    Args:
        torch_module: the module, which is not changed.
        inputs: as `certify` takes them, in JAX's layout.
        path: where the recording is written, by convention `<name>.npz`.
        torch_inputs: as `certify` takes them.

    Returns:
        The path.

    Raises:
        EventShapeError, AmbiguousLayoutError, OutputStructureError: as `certify`.
        ConfigurationError: the module cannot be copied or run, or an argument is neither an array nor a plain value.
        OutputError: the file cannot be written.
        MissingDependencyError: torch is not installed.
    """
    import torch

    from parity.certification.comparison import widened_array
    from parity.certification.torch_side import copied
    from parity.certification.torch_side import record as run

    target = check_writable(path)
    arguments = read_arguments(inputs)
    torch_arguments = in_torch_layout(arguments) if torch_inputs is None else read_arguments(torch_inputs)
    given = list(torch_arguments.arrays.values())
    single = Run(*run(copied(torch_module, torch.float32), torch_arguments, given))
    double = Run(*run(copied(torch_module, torch.float64), torch_arguments, map(widened_array, given)))
    recording = Recording(describe(torch_module), arguments, torch_arguments, single, double, versions())
    arrays: list[np.ndarray] = []
    document = {"format": FORMAT, **{name: pack(part, arrays) for name, part in _parts(recording).items()}}
    named: dict[str, Any] = {f"array_{k}": array for k, array in enumerate(arrays)}
    named[DOCUMENT] = np.frombuffer(json.dumps(document).encode(), np.uint8)
    with replace_file(target) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **named)
    return target


def read_recording(path: str | os.PathLike[str]) -> Recording:
    """Return what `record` wrote.

    Raises:
        CheckpointNotFoundError: there is no such file.
        CorruptCheckpointError: it is not a recording, or it is damaged.
    """
    file = Path(path)
    if not file.is_file():
        raise CheckpointNotFoundError(f"{file} is not a file; a recording is written by parity.record")
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
            document = json.loads(archive[DOCUMENT].tobytes())
            arrays = [archive[f"array_{k}"] for k in range(len(archive.files) - 1)]
        if document.pop("format") != FORMAT:
            raise ValueError("another format")
        return _joined({name: unpack(part, arrays) for name, part in document.items()})
    except (ValueError, KeyError, IndexError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise CorruptCheckpointError(
            f"{file} is not a readable recording ({type(error).__name__}): write it again with parity.record"
        ) from error


def _parts(recording: Recording) -> dict[str, Any]:
    """Return a recording as nested plain values."""
    return {
        "module": tuple(recording.module),
        "arguments": tuple(recording.arguments),
        "torch_arguments": tuple(recording.torch_arguments),
        "single": _run_parts(recording.single),
        "double": _run_parts(recording.double),
        "versions": recording.versions,
    }


def _run_parts(run: Run) -> tuple[Any, ...]:
    return [(*place, np.asarray(array)) for place, array in run.values.items()], run.tree


def _joined(parts: Mapping[str, Any]) -> Recording:
    """Return the recording of these plain values."""

    def run(name: str) -> Run:
        values, tree = parts[name]
        return Run({Place(*place): array for *place, array in values}, tree)

    return Recording(
        Description(*parts["module"]),
        Arguments(*parts["arguments"]),
        Arguments(*parts["torch_arguments"]),
        run("single"),
        run("double"),
        parts["versions"],
    )
