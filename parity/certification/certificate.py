"""Evidence that a converted network computes what the PyTorch network computes, layer by layer."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.bijectors import Params
from mathdnn_jax.errors import ConfigurationError, MissingDependencyError
from mathdnn_jax.files import check_writable, replace_file
from mathdnn_jax.seeds import check_seed
from mathdnn_jax.versions import versions
from parity.certification.measure import MAX_FACTOR, RMS_FACTOR, RULE, Evidence, describe, measure, merge, verdicts
from parity.containers import Inside
from parity.containers.checkpoint import State, announce, find, read, sha256
from parity.conversion import export
from parity.errors import CertificationError, UnsupportedDtypeError
from parity.models import Model, find_model
from parity.models.families import Layers
from parity.store import Restored, rebuild

BATCH = 256
VALUES = 2**26
PRECISION = "highest"


def certify(
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
    """Run a PyTorch checkpoint in PyTorch and, converted, in JAX on the same inputs, and write what differs.

    Both run in float32, and in float64 for the truth; JAX with matrix products of the highest precision. The
    certificate names the file by its SHA-256, the versions, the backend and the precision, and says per layer the
    rms and the greatest error of either float32 computation, and the greatest absolute, relative and ulp
    difference between the two, with its place. `measure.verdict` is the rule by which a layer passes.

    Args:
        path: a PyTorch checkpoint, or a file of `save_params`, as `restore` takes them.
        model: a name in `parity.MODELS`.
        inputs: events in JAX's layout, (N, dim) for vectors, (N, H, W, C) for images; by default `events` drawn with
            `seed`, uniform on [0, 1), for a flow half of them from the flow itself.
        output: where the certificate goes; by default `<name of the checkpoint>.certificate.json` in the current
            folder.
        events: how many events are drawn if `inputs` is None.
        seed: of the drawn events, and of the latents on which a flow's inverse is compared.
        ignore: keys of the checkpoint that are left out on purpose.
        inside: the dictionary of the checkpoint that is the state, as `load` takes it; the certificate says what else
            was left.
        on_batch: called with the number of events of each finished batch.

    Returns:
        The certificate, as the JSON file has it.

    Raises:
        CertificationError: a layer fails, or the weights do not come back bit for bit; the certificate is written
            all the same, and is the exception's `certificate`.
        CheckpointError, ConversionError: as `load` and `convert` do. Nothing is written then.
        EventShapeError: `inputs` are not events of the model, or there are none.
        ConfigurationError: fewer than one event, or an impossible seed.
        OutputError: the certificate cannot be written, or would replace the checkpoint.
        MissingDependencyError: torch is not installed.
    """
    specification = find_model(model)
    path = find(path)
    target = check_writable(output if output is not None else f"{path.stem}.certificate.json", path)
    check_seed(seed)
    if events < 1:
        raise ConfigurationError(f"a certificate compares at least one event, given events={events}")
    read_file = read(path, inside=inside)
    announce(path, read_file.selection, inside)
    restored = rebuild(read_file, model, ignore=ignore)
    state = restored.state
    wide = sorted(name for name, array in state.items() if array.dtype == np.float64)
    if wide:
        raise UnsupportedDtypeError(f"a certificate is about float32 weights; these are not: {', '.join(wide)}")
    x, source = _inputs(specification, restored, inputs, events, seed)

    exact = _round_trip(state, export(restored.params, model))
    evidence = _evidence(specification, restored, (x, *specification.family.beside(x, seed)), on_batch)
    reasons = verdicts(evidence)
    certificate = {
        "model": model,
        "config": restored.config,
        "passed": exact and not any(reasons.values()),
        "checkpoint": {
            "name": path.name,
            "sha256": sha256(path),
            "bytes": path.stat().st_size,
            "parameters": restored.parameters,
            "inside": list(read_file.selection.path),
            "left": dict(read_file.selection.left),
        },
        "round_trip_bit_exact": exact,
        "inputs": {"source": source, "events": len(x), "sha256": hashlib.sha256(x.tobytes()).hexdigest()},
        "backend": {"jax": jax.default_backend(), "device": jax.devices()[0].device_kind, "torch": "cpu"},
        "precision": {"jax_default_matmul_precision": PRECISION, "weights": "float32", "truth": "PyTorch, float64"},
        "versions": versions(),
        "written": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "rule": {"rms_factor": RMS_FACTOR, "max_factor": MAX_FACTOR, "text": RULE},
        "layers": [
            {"layer": name, "passed": not reasons[name], "failures": list(reasons[name]), **describe(layer)}
            for name, layer in evidence.items()
        ],
    }
    with replace_file(target) as temporary:
        temporary.write_text(json.dumps(certificate, indent=2, allow_nan=False) + "\n")
    if not certificate["passed"]:
        raise CertificationError(f"{failure(certificate)}\nThe whole evidence is in {target}", certificate)
    return certificate


def failure(certificate: dict[str, Any]) -> str:
    """What a certificate that did not pass says first: the first layer that departs, and how many others do."""
    if not certificate["round_trip_bit_exact"]:
        return "the weights do not come back bit for bit from the conversion"
    failed = [layer for layer in certificate["layers"] if not layer["passed"]]
    first, worst = failed[0], failed[0]["jax_to_torch_float32"]["absolute"]
    return (
        f"JAX and PyTorch differ by more than rounding in {len(failed)} of {len(certificate['layers'])} layers, first "
        f"in {first['layer']}: {'; '.join(first['failures'])}. Greatest difference there: {worst['greatest']:.6g} "
        f"at {tuple(worst['index'])}: JAX {worst['jax']:.9g}, PyTorch {worst['torch']:.9g}"
    )


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


def _round_trip(state: Mapping[str, np.ndarray], back: State) -> bool:
    return state.keys() == back.keys() and all(
        array.dtype == back[name].dtype and array.tobytes() == back[name].tobytes() for name, array in state.items()
    )


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
    modules = specification.torch_layers(config)
    capture = family.jax_layers(restored.model)
    size = _batch_size(capture, restored.params, inputs)
    layers = jax.jit(capture)
    with jax.enable_x64(True):
        double_params = _double(restored.params)

    evidence: dict[str, Evidence] = {}
    # Every batch is of one size, the last being filled up from the beginning: one compiled program is judged, and not
    # that of a single event too, in which XLA multiplies a matrix by a vector and rounds otherwise.
    total = len(inputs[0])
    filled = np.arange(-(-total // size) * size) % total
    for first in range(0, total, size):
        count = min(size, total - first)
        batch32 = [array[filled[first : first + size]] for array in inputs]
        batch64 = [array.astype(np.float64) for array in batch32]
        torch32 = family.torch_layers(single, modules, *batch32)
        truth = family.torch_layers(double, modules, *batch64)
        with jax.default_matmul_precision(PRECISION):
            jax32 = layers(restored.params, *map(jnp.asarray, batch32))
            with jax.enable_x64(True):
                jax64 = layers(double_params, *map(jnp.asarray, batch64))
                jax64 = {name: np.asarray(value) for name, value in jax64.items()}
        for name in torch32:
            values = (truth[name], torch32[name], np.asarray(jax32[name]), jax64[name])
            true, torch_value, jax_value, jax_double = (value[:count] for value in values)
            batch = measure(true, torch_value, jax_value, jax_double, first)
            evidence[name] = merge(evidence[name], batch) if name in evidence else batch
        if on_batch is not None:
            on_batch(count)
    return evidence


def _batch_size(capture: Callable[..., Layers], params: Params, inputs: tuple[np.ndarray, ...]) -> int:
    """As many events at a time, up to BATCH, as have VALUES values in all layers together."""
    event = [jax.ShapeDtypeStruct((1, *array.shape[1:]), array.dtype) for array in inputs]
    with jax.default_matmul_precision(PRECISION):
        outputs = jax.eval_shape(capture, params, *event)
    values = sum(int(leaf.size) for leaf in jax.tree.leaves(outputs))
    return max(1, min(BATCH, VALUES // values))


def _double(params: Params) -> Params:
    """The weights in float64, counters as they are."""
    return jax.tree.map(
        lambda leaf: leaf.astype(jnp.float64) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, params
    )
