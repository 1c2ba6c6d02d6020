"""Compares the gradients of a random linear function of both outputs, with respect to the inputs and every weight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from parity.certification.comparison import PRECISION
from parity.certification.measure import Evidence, measure
from parity.certification.pairing import in_jax_layout
from parity.containers.checkpoint import State
from parity.errors import RuleTableError
from parity.rules.conversion import convert_by_table
from parity.rules.table import RuleTable
from parity.rules.targets import rebuild, target_leaves, widened

SEED = 0


class Slopes(NamedTuple):
    """The gradients with respect to the inputs (None if they are whole numbers) and to all arrays, by key or path."""

    inputs: np.ndarray | None
    arrays: State


def gradient_evidence(
    single: Any, double: Any, apply: Callable[..., Any], variables: Any, x: np.ndarray, xt: np.ndarray, table: RuleTable
) -> dict[str, Evidence]:
    """Return {"inputs", "params/conv1/kernel", …: evidence} for the gradients of ⟨c, output⟩, c standard normal.

    A gradient counts as one event, so float64 alone decides. PyTorch's gradients are converted by the rule table, as
    its weights are. Buffers have no gradient.

    Raises:
        RuleTableError: the table combines or ties sources, so that PyTorch differentiates by other arrays than JAX.
    """
    combined = [rule.target for rule in table.rules if rule.combine] + list(table.tied)
    if combined:
        raise RuleTableError(
            f"gradients are compared only if every leaf is one array of PyTorch's, which {', '.join(combined)} is not; "
            f"leave out gradients=, or remove from the PyTorch module what ties or combines its arrays"
        )
    shape = jax.eval_shape(apply, variables, jax.ShapeDtypeStruct(x.shape, x.dtype)).shape
    weights = np.random.default_rng(SEED).standard_normal(shape, dtype=np.float32)
    truth, torch32 = _torch(double, widened(xt), widened(weights)), _torch(single, xt, weights)
    with jax.default_matmul_precision(PRECISION):
        jax32 = _jax(apply, variables, x, weights)
        with jax.enable_x64(True):
            jax64 = _jax(apply, widened(variables), widened(x), widened(weights))
            true = _moved(truth, variables, table)
    moved = _moved(torch32, variables, table)
    learnt = {name for name, _ in single.named_parameters()}
    evidence: dict[str, Evidence] = {}
    if truth.inputs is not None and torch32.inputs is not None and jax32.inputs is not None:
        like = np.asarray(jax64.inputs)
        sides = [in_jax_layout("", side, like) for side in (truth.inputs, torch32.inputs)]
        evidence["inputs"] = _measure(*sides, jax32.inputs, like)
    for rule in table.rules:
        if table.prefix + rule.sources[0] in learnt:
            values = (side[rule.target] for side in (true, moved, jax32.arrays, jax64.arrays))
            evidence[rule.target] = _measure(*values)
    return evidence


def _torch(module: Any, x: np.ndarray, weights: np.ndarray) -> Slopes:
    import torch

    array = torch.from_numpy(x)
    if array.is_floating_point():
        array.requires_grad_(True)
    output = module(array)
    first = np.moveaxis(weights, -1, 1) if weights.ndim > 2 else weights
    factor = first if first.shape == tuple(output.shape) else weights
    parameters = dict(module.named_parameters())
    wanted = list(parameters.values()) + ([array] if array.requires_grad else [])
    slopes = torch.autograd.grad(output, wanted, torch.from_numpy(np.ascontiguousarray(factor)), allow_unused=True)
    arrays = {name: np.zeros(tuple(value.shape), value.numpy().dtype) for name, value in module.state_dict().items()}
    for name, slope in zip(parameters, slopes, strict=False):
        if slope is not None:
            arrays[name] = slope.numpy()
    return Slopes(slopes[-1].numpy() if array.requires_grad else None, arrays)


def _jax(apply: Callable[..., Any], variables: Any, x: np.ndarray, weights: np.ndarray) -> Slopes:
    leaves = target_leaves(variables)
    learnt = {path: leaf for path, leaf in leaves.items() if jnp.issubdtype(leaf.dtype, jnp.floating)}

    def value(flat: dict[str, Any], array: Any) -> Any:
        return jnp.sum(apply(rebuild(variables, flat), array) * weights)

    floating = np.issubdtype(x.dtype, np.floating)
    slopes = jax.jit(jax.grad(value, argnums=(0, 1) if floating else (0,)))(learnt, jnp.asarray(x))
    arrays = {path: np.asarray(slope) for path, slope in slopes[0].items()}
    return Slopes(np.asarray(slopes[1]) if floating else None, arrays)


def _moved(slopes: Slopes, variables: Any, table: RuleTable) -> dict[str, np.ndarray]:
    tree = convert_by_table(slopes.arrays, variables, table)
    return {path: np.asarray(leaf) for path, leaf in target_leaves(tree).items()}


def _measure(*values: Any) -> Evidence:
    """Measure the truth, PyTorch's, JAX's and JAX's float64 values, each as one event."""
    truth, torch32, jax32, jax64 = (np.asarray(value)[None] for value in values)
    return measure(truth, torch32, jax32, jax64, 0)
