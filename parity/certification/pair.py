"""Evidence for any pair of a PyTorch module and a JAX function: layer by layer, weight by weight, and by gradients."""

from __future__ import annotations

import copy
import datetime as dt
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.errors import ConfigurationError, EventShapeError
from mathdnn_jax.files import check_writable, replace_file
from mathdnn_jax.versions import versions
from parity.certification.capture import OUTPUT, in_jax_layout, jax_outputs, pair_layers, torch_outputs
from parity.certification.gradients import gradient_evidence
from parity.certification.measure import MAX_FACTOR, RMS_FACTOR, RULE, Evidence, describe, measure, verdicts
from parity.containers.checkpoint import to_numpy
from parity.errors import CertificationError
from parity.inference import infer_rules
from parity.inference.units import module_of_source, module_of_target
from parity.rules.conversion import convert_by_table
from parity.rules.table import RuleTable, read_rules
from parity.rules.targets import rebuild, target_leaves, widened
from parity.rules.wrappers import own_prefix

PRECISION = "highest"
SILENT = ("Flatten", "Dropout", "Dropout2d", "Identity")
"""PyTorch layers that compute nothing; the order of a flattened image is judged by the layer that reads it."""


def certify_pair(
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
    """As `parity.certify(torch_module, apply, variables, inputs)`."""
    target = None if output is None else check_writable(output)
    x = np.asarray(inputs)
    if not x.ndim or not len(x):
        raise EventShapeError(f"certify needs a batch of at least one event, given an array of shape {x.shape}")
    if np.issubdtype(x.dtype, np.floating):
        x = x.astype(np.float32)
    xt = _torch_layout(x) if torch_inputs is None else np.asarray(torch_inputs)
    state = {name: to_numpy(value) for name, value in torch_module.state_dict().items()}
    if rules is None:
        rules = infer_rules(state, variables, apply=apply, inputs=jax.ShapeDtypeStruct(x.shape, x.dtype))
    table = rules if isinstance(rules, RuleTable) else read_rules(rules)
    # The module's own state has no wrappers, and of the prefix what it is wrapped in itself.
    table = table._replace(wrapper=(), prefix=own_prefix(table.prefix, state))
    differing = _differing(convert_by_table(state, variables, table), variables)

    single, double = (copy.deepcopy(torch_module).float().eval(), copy.deepcopy(torch_module).double().eval())
    exact = _joined(state, variables, table, differing)
    evidence, pairs = _layers(single, double, apply, variables, exact, x, xt, _modules(table))
    reasons = verdicts(evidence)
    slopes: dict[str, Evidence] = {}
    if gradients:
        slopes = gradient_evidence(single, double, apply, variables, x, xt, table)
        reasons |= verdicts(slopes)
    certificate = {
        "model": type(torch_module).__name__,
        "passed": not differing and not any(reasons.values()),
        "weights": {"leaves": len(target_leaves(variables)), "differing": differing},
        "parameters": sum(int(p.numel()) for p in torch_module.parameters()),
        "inputs": {"events": len(x), "shape": list(x.shape), "sha256": hashlib.sha256(x.tobytes()).hexdigest()},
        "backend": {"jax": jax.default_backend(), "device": jax.devices()[0].device_kind, "torch": "cpu"},
        "precision": {"jax_default_matmul_precision": PRECISION, "weights": "float32", "truth": "PyTorch, float64"},
        "versions": versions(),
        "written": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "rule": {"rms_factor": RMS_FACTOR, "max_factor": MAX_FACTOR, "text": RULE},
        "rules": table.text,
        "unwatched": sorted(_owners(table) - {pairs[name] for name in evidence}),
        "layers": [_entry(name, layer, reasons, torch=pairs[name]) for name, layer in evidence.items()],
        "gradients": [_entry(name, layer, reasons) for name, layer in slopes.items()],
    }
    if target is not None:
        with replace_file(target) as temporary:
            temporary.write_text(json.dumps(certificate, indent=2, allow_nan=False) + "\n")
    if not certificate["passed"]:
        raise CertificationError(pair_failure(certificate), certificate)
    return certificate


def pair_failure(certificate: Mapping[str, Any]) -> str:
    """What a certificate that did not pass says first: the first layer that departs, and the weights that differ."""
    lines = []
    for what in ("layers", "gradients"):
        failed = [entry for entry in certificate[what] if not entry["passed"]]
        if failed:
            first, worst = failed[0], failed[0]["jax_to_torch_float32"]["absolute"]
            lines.append(
                f"JAX and PyTorch differ by more than rounding in {len(failed)} of {len(certificate[what])} {what}, "
                f"first in {first['layer']}: {'; '.join(first['failures'])}. Greatest difference there: "
                f"{worst['greatest']:.6g} at {tuple(worst['index'])}: JAX {worst['jax']:.9g}, "
                f"PyTorch {worst['torch']:.9g}"
            )
    differing = certificate["weights"]["differing"]
    if differing:
        lines.append(f"these weights are not what the rules make of the PyTorch module's: {', '.join(differing)}")
    return "\n".join(lines)


def _layers(
    single: Any,
    double: Any,
    apply: Callable[..., Any],
    variables: Any,
    exact: Mapping[str, Any],
    x: np.ndarray,
    xt: Any,
    known: dict[str, str],
) -> tuple[dict[str, Evidence], dict[str, str]]:
    import torch

    torch32 = torch_outputs(single, torch.from_numpy(xt))
    truth = torch_outputs(double, torch.from_numpy(widened(xt)))
    kinds = {name: type(module).__name__ for name, module in single.named_modules()}
    order: list[str] = []
    capture = jax_outputs(apply, order)
    with jax.default_matmul_precision(PRECISION):
        jax32 = jax.jit(capture)(variables, jnp.asarray(x))
        with jax.enable_x64(True):
            try:
                wide = jax.jit(capture)(rebuild(widened(variables), exact), jnp.asarray(widened(x)))
            except TypeError as error:
                raise ConfigurationError(
                    f"the JAX network does not run in float64, in which it is judged: "
                    f"{str(error).splitlines()[0][:300]} — let every dtype follow the variables and inputs, that of a "
                    f"recurrent cell's first carry too"
                ) from error
            jax64 = {name: np.asarray(value) for name, value in wide.items()}
    narrow = [name for name in order if jax64[name].dtype == np.float32]
    if narrow:
        raise ConfigurationError(
            f"the JAX network has to compute in the dtype of its variables and inputs, to be judged in float64; its "
            f"layer {narrow[0]} computes in float32 even there: leave dtype= and casts out"
        )
    pairs = pair_layers([name for name in order if name != OUTPUT], set(torch32) - {OUTPUT}, known)
    pairs[OUTPUT] = OUTPUT
    evidence: dict[str, Evidence] = {}
    for name, other in pairs.items():
        kind = kinds.get(other.partition("#")[0], "")
        if kind in SILENT:
            continue
        moved = [in_jax_layout(kind, values[other], jax64[name]) for values in (truth, torch32)]
        true, torch_value = moved
        if true is None or torch_value is None:
            if kind and other in known.values():
                raise EventShapeError(
                    f"layer {name} has shape {jax64[name].shape} where PyTorch's {other} has {truth[other].shape}"
                )
            continue
        evidence[name] = measure(true, torch_value, np.asarray(jax32[name]), jax64[name], 0)
    return evidence, pairs


def _joined(
    state: Mapping[str, np.ndarray], variables: Any, table: RuleTable, differing: list[str]
) -> dict[str, np.ndarray]:
    """The leaves that come of two sources, in float64: in float32 they are rounded, and PyTorch's own are not.

    Only of leaves whose float32 is what the rules give, so that another weight stays what it is.
    """
    wanted = {rule.target for rule in table.rules if rule.combine} - set(differing)
    if not wanted:
        return {}
    with jax.enable_x64(True):
        double = {name: a.astype(np.float64) if a.dtype.kind not in "iub" else a for name, a in state.items()}
        leaves = target_leaves(convert_by_table(double, widened(variables), table))
        return {path: np.asarray(leaves[path]) for path in wanted}


def _modules(table: RuleTable) -> dict[str, str]:
    """{JAX layer: PyTorch submodule} of the rules that fill a whole layer from a whole one."""
    whole = [rule for rule in table.rules if rule.part == (0, 1) and module_of_target(rule.target)]
    return {module_of_target(r.target): table.prefix + module_of_source(r.sources[0]) for r in whole}


def _owners(table: RuleTable) -> set[str]:
    """The PyTorch submodules that have arrays of their own; the module itself is judged by its output."""
    owners = {module_of_source(key) for rule in table.rules for key in rule.sources}
    return {table.prefix + owner for owner in owners if owner}


def _differing(expected: Any, given: Any) -> list[str]:
    """The leaves whose bits are not those that the rules give."""
    leaves = target_leaves(given)
    return [
        path
        for path, leaf in target_leaves(expected).items()
        if np.asarray(leaf).dtype != np.asarray(leaves[path]).dtype
        or np.asarray(leaf).tobytes() != np.asarray(leaves[path]).tobytes()
    ]


def _torch_layout(x: np.ndarray) -> np.ndarray:
    if x.ndim == 3 and np.issubdtype(x.dtype, np.floating):
        raise ConfigurationError(
            f"inputs of shape {x.shape} may be signals, whose channels PyTorch has first, or sequences, which it has "
            f"as they are: give torch_inputs= too"
        )
    return np.ascontiguousarray(np.moveaxis(x, -1, 1) if x.ndim > 3 else x)


def _entry(name: str, layer: Evidence, reasons: Mapping[str, tuple[str, ...]], **more: str) -> dict[str, Any]:
    return {"layer": name, **more, "passed": not reasons[name], "failures": list(reasons[name]), **describe(layer)}
