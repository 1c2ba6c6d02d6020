"""The checks that need no numbers: a map can be called, and returns the right shapes and dtypes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.testing.cases import Tree
from mathdnn_jax.testing.failure import Failure
from mathdnn_jax.testing.precision import in_float32
from mathdnn_jax.testing.programs import BATCH_SHAPES, Direction, as_arrays


def check_contract(
    direction: Direction, params: Tree, context: Tree, *, batched: bool, float32: bool
) -> Failure | None:
    """Trace the map on one event and on batches, and check that the shape of log_det is exactly the batch shape."""
    failure = _traced(direction, params, context, (), np.dtype(np.float64))
    if failure is None and batched:
        for batch in BATCH_SHAPES:
            contexts = jax.tree.map(lambda leaf, batch=batch: np.broadcast_to(leaf, (*batch, *np.shape(leaf))), context)
            failure = failure or _traced(direction, params, contexts, batch, np.dtype(np.float64))
    if failure is None and float32:
        with in_float32():
            failure = _traced(direction, params, context, (), np.dtype(np.float32))
    return failure


def _traced(
    direction: Direction, params: Tree, context: Tree, batch: tuple[int, ...], dtype: np.dtype[Any]
) -> Failure | None:
    def failure(check: str, claim: str, *hints: str) -> Failure:
        return Failure(check, direction.name, f"given {given}, {claim}", hints=hints)

    shape = (*batch, *direction.shape)
    given = f"an {'event' if not batch else 'array'} of shape {shape} and dtype {dtype}"
    x = jax.ShapeDtypeStruct(shape, dtype)
    arguments = as_arrays(params, dtype), as_arrays(context, dtype)
    try:
        value, log_det = jax.eval_shape(lambda x: direction.call(*arguments, x), x)
    except Exception as error:
        hint = (
            "leading axes are batch axes; if the function takes one event at a time, pass batched=False"
            if batch
            else "the checker calls f(params, x, context), leaving out params or context if they were not given"
        )
        claim = f"{direction.name} must return (value, log_det), but raises {type(error).__name__}: {error}"
        return failure("call", claim, hint)
    expected = (*batch, *direction.value_shape)
    if jnp.shape(value) != expected:
        return failure("value_shape", f"the value has shape {jnp.shape(value)}, not {expected}")
    if jnp.shape(log_det) != batch:
        claim = f"log_det has shape {jnp.shape(log_det)}, not the batch shape {batch}"
        hints = []
        if batch and jnp.shape(log_det) == ():
            hints.append("log_det is summed over the batch too, or lacks its batch axes")
        elif jnp.shape(log_det)[: len(batch)] == batch:
            hints.append("log_det still has axes of the event; sum over them")
        elif jnp.shape(log_det) == batch[::-1]:
            hints.append("the batch axes of log_det are transposed")
        return failure("log_det_shape", claim, *hints)
    for name, result in (("value", value), ("log_det", log_det)):
        wide = dtype == np.float64 and result.dtype == np.float32
        if result.dtype != dtype and not wide:
            return failure("dtype", f"the {name} has dtype {result.dtype}, not {dtype}")
    return None
