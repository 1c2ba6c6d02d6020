"""What needs no numbers: that a map can be called, what shapes and dtypes it returns."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.testing.cases import Tree
from mathdnn_jax.testing.finding import Finding
from mathdnn_jax.testing.programs import BATCH, Direction, as_arrays

BATCHES: tuple[tuple[int, ...], ...] = ((BATCH,), (2, BATCH), (1,))


def check_contract(
    direction: Direction, params: Tree, context: Tree, *, batched: bool, float32: bool
) -> Finding | None:
    """Trace the map on one event and on batches; the shape of log_det is the batch shape and nothing else."""
    finding = _traced(direction, params, context, (), np.dtype(np.float64))
    if finding is None and batched:
        for batch in BATCHES:
            contexts = jax.tree.map(lambda leaf, batch=batch: np.broadcast_to(leaf, (*batch, *np.shape(leaf))), context)
            finding = finding or _traced(direction, params, contexts, batch, np.dtype(np.float64))
    if finding is None and float32:
        with jax.enable_x64(False):
            finding = _traced(direction, params, context, (), np.dtype(np.float32))
    return finding


def _traced(
    direction: Direction, params: Tree, context: Tree, batch: tuple[int, ...], dtype: np.dtype[Any]
) -> Finding | None:
    def finding(check: str, claim: str, *hints: str) -> Finding:
        return Finding(check, direction.name, f"given {given}, {claim}", hints=hints)

    shape = (*batch, *direction.shape)
    given = f"an {'event' if not batch else 'array'} of shape {shape} and {dtype}"
    x = jax.ShapeDtypeStruct(shape, dtype)
    arguments = as_arrays(params, dtype), as_arrays(context, dtype)
    try:
        value, log_det = jax.eval_shape(lambda x: direction.call(*arguments, x), x)
    except Exception as error:
        hint = (
            "leading axes are batch axes; batched=False is for functions that take one event at a time"
            if batch
            else "the checker calls f(params, x, context), without those of params and context that were not given"
        )
        claim = f"{direction.name} does not return (value, log_det) but raises {type(error).__name__}: {error}"
        return finding("call", claim, hint)
    expected = (*batch, *direction.value_shape)
    if jnp.shape(value) != expected:
        return finding("value_shape", f"the value has shape {jnp.shape(value)}, not {expected}")
    if jnp.shape(log_det) != batch:
        claim = f"log_det has shape {jnp.shape(log_det)}, not the batch shape {batch}"
        hints = []
        if batch and jnp.shape(log_det) == ():
            hints.append("is log_det summed over the batch too, or left without its batch axes?")
        elif jnp.shape(log_det)[: len(batch)] == batch:
            hints.append("log_det still has axes of the event: sum over them")
        elif jnp.shape(log_det) == batch[::-1]:
            hints.append("the batch axes of log_det are transposed")
        return finding("log_det_shape", claim, *hints)
    for name, result in (("value", value), ("log_det", log_det)):
        wide = dtype == np.float64 and result.dtype == np.float32
        if result.dtype != dtype and not wide:
            return finding("dtype", f"the {name} is {result.dtype}")
    return None
