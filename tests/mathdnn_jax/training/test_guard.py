"""Old values are kept if a step was not finite, and how XLA compiles that for a CPU and a GPU."""

from __future__ import annotations

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mathdnn_jax.training import gradient_update
from mathdnn_jax.training.guard import advance_where, choose

WIDTH = 32


def advance(old: dict[str, jax.Array], by: jax.Array) -> dict[str, jax.Array]:
    return {"x": old["x"] + by, "n": old["n"] + 1}


@pytest.mark.parametrize("compiled", [False, True])
def test_old_values_stay_bit_for_bit_or_all_advance(compiled: bool) -> None:
    old = {"x": jnp.array([1.0, jnp.nan, -0.0], jnp.float32), "n": jnp.int32(3)}
    by = jnp.float32(jnp.nan)
    run = jax.jit(advance_where, static_argnums=1) if compiled else advance_where
    for alive, expected in ((True, advance(old, by)), (False, old)):
        got = run(jnp.asarray(alive), advance, old, by)
        for kept, leaf in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
            assert kept.dtype == leaf.dtype
            assert np.asarray(kept).tobytes() == np.asarray(leaf).tobytes()


@pytest.mark.parametrize(("platform", "selects"), [("cpu", False), ("cuda", True), ("tpu", True)])
def test_a_cpu_branches_where_others_select(platform: str, selects: bool) -> None:
    old = {"x": jnp.ones(3), "n": jnp.int32(0)}
    traced = jax.jit(advance_where, static_argnums=1).trace(jnp.asarray(True), advance, old, jnp.float32(1))
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert ("stablehlo.select" in text) == selects
    # Which platform it is takes two cases of constants.
    assert text.count("stablehlo.case") == (2 if selects else 3)


def steps(guarded: bool) -> str:
    """The compiled program of five steps of Adam for a network of two square kernels."""
    params = {"first": jnp.ones((WIDTH, WIDTH)), "second": jnp.ones((WIDTH, WIDTH))}

    def loss(params: Any, batch: jax.Array, key: jax.Array) -> jax.Array:
        return jnp.square(jax.nn.relu(batch @ params["first"]) @ params["second"] - batch).mean()

    update = gradient_update(loss, optax.adam(1e-3))

    def body(carry: Any, batch: jax.Array) -> Any:
        params, optimizer_state, alive = carry
        if guarded:
            done = update.step(params, optimizer_state, None, batch, jax.random.key(0), None, alive=alive)
            return (done.params, done.optimizer_state, alive & done.finite), done.loss
        done = update.step(params, optimizer_state, None, batch, jax.random.key(0), None)
        alive = alive & done.finite
        return (*choose(alive, (done.params, done.optimizer_state), (params, optimizer_state)), alive), done.loss

    carry = params, update.init(params), jnp.asarray(True)
    run = jax.jit(lambda carry, batches: jax.lax.scan(body, carry, batches), donate_argnums=0)
    return run.lower(carry, jnp.ones((5, 7, WIDTH))).compile().as_text() or ""


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="reads the program that XLA makes for a processor")
def test_no_kernel_is_copied_in_a_step() -> None:
    copy_of_kernel = re.compile(rf"f32\[{WIDTH},{WIDTH}\]\S* copy\(")
    assert not copy_of_kernel.search(steps(guarded=True))
    if not copy_of_kernel.search(steps(guarded=False)):
        pytest.skip("this XLA copies nothing for a choice entry by entry either: the branch can go")
