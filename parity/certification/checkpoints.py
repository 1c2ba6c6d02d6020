"""Certificates of checkpoint files, for the models that can be converted by name."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from mathdnn_jax.bijectors import Params
from mathdnn_jax.errors import ConfigurationError, MissingDependencyError
from mathdnn_jax.files import check_writable
from mathdnn_jax.seeds import check_seed
from parity.certification.certificate import circumstances, conclude, differing_bits, entries, passed
from parity.certification.comparison import PRECISION, Batch, Networks, compare
from parity.certification.measure import Evidence
from parity.containers import Inside
from parity.containers.checkpoint import announce, files, find, read, sha256
from parity.conversion import export
from parity.errors import UnsupportedDtypeError, WrongModelError
from parity.models import Model, find_model
from parity.models.family import Layers
from parity.rules.targets import widened
from parity.store import Restored, rebuild

BATCH = 256
VALUES = 2**26


def certify_checkpoint(
    path: str | os.PathLike[str],
    model: str = "nice",
    *,
    inputs: np.ndarray | None = None,
    output: str | os.PathLike[str] | None = None,
    events: int = 1024,
    seed: int = 0,
    ignore: Collection[str] = (),
    inside: Inside | None = None,
    on_batch: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Implement `parity.certify(path, model)`."""
    specification = find_model(model)
    path = find(path)
    target = check_writable(output if output is not None else f"{path.stem}.certificate.json", path)
    check_seed(seed)
    if events < 1:
        raise ConfigurationError(f"a certificate compares at least one event, got events={events}")
    checkpoint = read(path, inside=inside)
    announce(path, checkpoint.selection, inside)
    restored = rebuild(checkpoint, model, ignore=ignore)
    state = restored.state
    wide = sorted(name for name, array in state.items() if array.dtype == np.float64)
    if wide:
        raise UnsupportedDtypeError(f"a certificate is about float32 weights; these are not: {', '.join(wide)}")
    x, source = _inputs(specification, restored, inputs, events, seed)

    back: Mapping[str, np.ndarray] = export(restored.params, model)
    exact = state.keys() == back.keys() and not differing_bits(state, back)
    layers = entries(_evidence(specification, restored, (x, *specification.family.beside(x, seed)), on_batch))
    certificate = {
        "model": model,
        "config": restored.config,
        "passed": exact and passed(layers),
        "checkpoint": {
            "name": path.name,
            "sha256": sha256(path),
            "bytes": sum(part.stat().st_size for part in files(path)),
            "parameters": restored.parameters,
            "inside": list(checkpoint.selection.path),
            "left": dict(checkpoint.selection.left),
        },
        "round_trip_bit_exact": exact,
        "inputs": {"source": source, "events": len(x), "sha256": hashlib.sha256(x.tobytes()).hexdigest()},
        **circumstances(),
        "layers": layers,
    }
    return conclude(certificate, target)


def _inputs(
    specification: Model, restored: Restored, inputs: np.ndarray | None, count: int, seed: int
) -> tuple[np.ndarray, str]:
    events = specification.events(restored.config)
    if inputs is None:
        x, source = specification.family.draw(restored.model, restored.params, events, count, seed)
    else:
        x, source = np.ascontiguousarray(inputs, dtype=np.float32), "given"
    events.check(x)
    return x, source


def _evidence(
    specification: Model,
    restored: Restored,
    inputs: tuple[np.ndarray, ...],
    on_batch: Callable[[int], object] | None,
) -> dict[str, Evidence]:
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError(
            'a certificate runs the PyTorch network: pip install "mathdnn_jax[parity]"'
        ) from error
    config, family = restored.config, specification.family
    single, double = specification.twin(**config), specification.twin(**config).double()
    for twin in (single, double):
        twin.load_state_dict({name: torch.from_numpy(array) for name, array in restored.state.items()}, strict=True)
        twin.eval()
    submodules = specification.submodules(config)

    def pair(layers: list[str], others: Collection[str]) -> dict[str, str]:
        pairs = {layer: submodules.get(layer, layer) for layer in layers}
        pairs = {layer: other for layer, other in pairs.items() if other in others}
        alone = sorted(set(others) - set(pairs.values()))
        if alone:
            raise WrongModelError(f"these layers of the PyTorch twin have no counterpart in JAX: {', '.join(alone)}")
        return pairs

    capture = family.jax_layers(restored.model)
    size = _batch_size(capture, restored.params, inputs)
    with jax.enable_x64(True):
        wide = widened(restored.params)
    networks = Networks(
        single,
        double,
        lambda module, *arrays: family.torch_layers(module, submodules.values(), *arrays),
        capture,
        restored.params,
        wide,
        pair,
        lambda _layer, _submodule, array, _like: array,
    )
    evidence, _ = compare(networks, _batches(inputs, size, on_batch))
    return evidence


def _batches(inputs: tuple[np.ndarray, ...], size: int, on_batch: Callable[[int], object] | None) -> Iterator[Batch]:
    """Yield batches of one size, the last one filled up from the beginning, and report each when it is done.

    So a single compiled program is judged. For a single event XLA would compile another, which multiplies a matrix by
    a vector and rounds differently.
    """
    total = len(inputs[0])
    filled = np.arange(-(-total // size) * size) % total
    for first in range(0, total, size):
        count = min(size, total - first)
        arrays = tuple(array[filled[first : first + size]] for array in inputs)
        yield Batch(arrays, arrays, first, count)
        if on_batch is not None:
            on_batch(count)


def _batch_size(capture: Callable[..., Layers], params: Params, inputs: tuple[np.ndarray, ...]) -> int:
    """Return the number of events whose layers have VALUES values in all, at most BATCH."""
    event = [jax.ShapeDtypeStruct((1, *array.shape[1:]), array.dtype) for array in inputs]
    with jax.default_matmul_precision(PRECISION):
        outputs = jax.eval_shape(capture, params, *event)
    values = sum(int(leaf.size) for leaf in jax.tree.leaves(outputs))
    return max(1, min(BATCH, VALUES // values))
