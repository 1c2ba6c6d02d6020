"""Certificates of any PyTorch module beside any JAX function."""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import numpy as np

from mathdnn_jax.errors import ConfigurationError, EventShapeError
from mathdnn_jax.files import check_writable
from parity.capture import OUTPUT, first_array, flax_calls, torch_calls
from parity.certification.certificate import circumstances, conclude, differing_bits, entries, passed
from parity.certification.comparison import Batch, Networks, compare
from parity.certification.gradients import gradient_evidence
from parity.certification.pairing import in_jax_layout, pair_layers
from parity.containers.checkpoint import to_numpy
from parity.inference import infer_rules
from parity.inference.units import module_of_source, module_of_target
from parity.rules.adapting import for_module
from parity.rules.conversion import convert_by_table
from parity.rules.table import RuleTable, read_rules
from parity.rules.targets import rebuild, target_leaves, widened

SILENT = ("Flatten", "Dropout", "Dropout2d", "Identity")
"""PyTorch layers that compute nothing; the order of a flattened image is judged by the layer that reads it."""


def certify_modules(
    torch_module: Any,
    apply: Callable[..., Any],
    variables: Any,
    inputs: Any,
    *,
    rules: RuleTable | str | os.PathLike[str] | None = None,
    torch_inputs: Any = None,
    gradients: bool = False,
    output: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Implement `parity.certify(torch_module, apply, variables, inputs)`."""
    target = None if output is None else check_writable(output)
    x = np.asarray(inputs)
    if not x.ndim or not len(x):
        raise EventShapeError(f"certify needs a batch of at least one event, got an array of shape {x.shape}")
    if np.issubdtype(x.dtype, np.floating):
        x = x.astype(np.float32)
    xt = _torch_layout(x) if torch_inputs is None else np.asarray(torch_inputs)
    state = {name: to_numpy(value) for name, value in torch_module.state_dict().items()}
    if rules is None:
        rules = infer_rules(state, variables, apply=apply, inputs=jax.ShapeDtypeStruct(x.shape, x.dtype))
    table = rules if isinstance(rules, RuleTable) else read_rules(rules)
    table = for_module(table, state)
    converted = target_leaves(convert_by_table(state, variables, table))
    differing = differing_bits(converted, target_leaves(variables))

    networks = _networks(torch_module, apply, variables, table, _combined(state, variables, table, differing))
    evidence, pairs = compare(networks, [Batch((x,), (xt,))])
    layers, slopes = entries(evidence, pairs), []
    if gradients:
        slopes = entries(gradient_evidence(networks.single, networks.double, apply, variables, x, xt, table))
    certificate = {
        "model": type(torch_module).__name__,
        "passed": not differing and passed([*layers, *slopes]),
        "weights": {"leaves": len(target_leaves(variables)), "differing": differing},
        "parameters": sum(int(p.numel()) for p in torch_module.parameters()),
        "inputs": {"events": len(x), "shape": list(x.shape), "sha256": hashlib.sha256(x.tobytes()).hexdigest()},
        **circumstances(),
        "rules": table.text,
        "unwatched": sorted(_owners(table) - {pairs[name] for name in evidence}),
        "layers": layers,
        "gradients": slopes,
    }
    return conclude(certificate, target)


def _networks(
    torch_module: Any, apply: Callable[..., Any], variables: Any, table: RuleTable, combined: Mapping[str, Any]
) -> Networks:
    single, double = copy.deepcopy(torch_module).float().eval(), copy.deepcopy(torch_module).double().eval()
    kinds = {name: type(module).__name__ for name, module in single.named_modules()}
    known = _modules(table)

    def jax_layers(tree: Any, x: Any) -> dict[str, Any]:
        with flax_calls(tree) as values:
            output = apply(tree, x)
        return {**values, OUTPUT: first_array(output)}

    def pair(layers: list[str], others: Collection[str]) -> dict[str, str]:
        named = pair_layers([name for name in layers if name != OUTPUT], set(others) - {OUTPUT}, known)
        judged = {layer: other for layer, other in named.items() if _kind(kinds, other) not in SILENT}
        return {**judged, OUTPUT: OUTPUT}

    def align(layer: str, submodule: str, array: np.ndarray, like: np.ndarray) -> np.ndarray | None:
        kind = _kind(kinds, submodule)
        moved = in_jax_layout(kind, array, like)
        if moved is None and submodule == OUTPUT:
            raise EventShapeError(
                f"the JAX network's output has shape {like.shape} and PyTorch's has {array.shape}, so they cannot be "
                f"compared: let both return the same, PyTorch with its channels first"
            )
        if moved is None and kind and submodule in known.values():
            raise EventShapeError(f"layer {layer} has shape {like.shape} where PyTorch's {submodule} has {array.shape}")
        return moved

    with jax.enable_x64(True):
        wide = rebuild(widened(variables), combined)
    return Networks(single, double, _torch_layers, jax_layers, variables, wide, pair, align)


def _torch_layers(module: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    import torch

    with torch.no_grad(), torch_calls(module) as values:
        output = first_array(module(torch.from_numpy(x)))
    assert output is not None
    return {**values, OUTPUT: output.numpy()}


def _combined(
    state: Mapping[str, np.ndarray], variables: Any, table: RuleTable, differing: list[str]
) -> dict[str, np.ndarray]:
    """Return in float64 the leaves made of two sources: in float32 they are rounded, and PyTorch's own are not.

    Only leaves whose float32 is what the rules give are returned, so that any other weight remains what it is.
    """
    wanted = {rule.target for rule in table.rules if rule.combine} - set(differing)
    if not wanted:
        return {}
    with jax.enable_x64(True):
        double = {name: a.astype(np.float64) if a.dtype.kind not in "iub" else a for name, a in state.items()}
        leaves = target_leaves(convert_by_table(double, widened(variables), table))
        return {path: np.asarray(leaves[path]) for path in wanted}


def _modules(table: RuleTable) -> dict[str, str]:
    """Return {JAX layer: PyTorch submodule} for the rules that fill a whole layer from a whole submodule."""
    whole = [rule for rule in table.rules if rule.part == (0, 1) and module_of_target(rule.target)]
    return {module_of_target(r.target): table.prefix + module_of_source(r.sources[0]) for r in whole}


def _owners(table: RuleTable) -> set[str]:
    """Return the PyTorch submodules that have arrays of their own; the module itself is judged by its output."""
    owners = {module_of_source(key) for rule in table.rules for key in rule.sources}
    return {table.prefix + owner for owner in owners if owner}


def _kind(kinds: Mapping[str, str], submodule: str) -> str:
    return kinds.get(submodule.partition("#")[0], "")


def _torch_layout(x: np.ndarray) -> np.ndarray:
    if x.ndim == 3 and np.issubdtype(x.dtype, np.floating):
        raise ConfigurationError(
            f"inputs of shape {x.shape} may be signals, which PyTorch takes with the channels first, or sequences, "
            f"which it takes as they are: give torch_inputs= too"
        )
    return np.ascontiguousarray(np.moveaxis(x, -1, 1) if x.ndim > 3 else x)
