from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mathdnn_jax.errors import DivergedError
from mathdnn_jax.training import FitResult, Stepped, Update, fit

from .lines import BATCH, DATA, KEY, OPTIMIZER, Tree, assert_same, loss, start

BAD_ROW = 21
"""In batch 2 of an epoch that is not shuffled."""


def spoiled_loss(params: Tree, batch: Tree, key: jax.Array) -> jax.Array:
    """Like `loss`, but not finite where the data say so, once a parameter exceeds 0.5."""
    return loss(params, batch, key)[0] + jnp.where(params["w"][2] > 0.5, batch["spoil"].sum(), 0)


def root_loss(params: Tree, batch: Tree, key: jax.Array) -> jax.Array:
    """Finite, but with an infinite gradient where the data say so: the square root at zero."""
    return loss(params, batch, key)[0] + jnp.sqrt(batch["spoil"].sum() * params["w"][0] ** 2)


def spoiled_data(value: float) -> dict[str, np.ndarray]:
    spoil = np.zeros(len(DATA["y"]), np.float32)
    spoil[BAD_ROW] = value
    return {**DATA, "spoil": spoil}


def diverge(loss: Any = spoiled_loss, **changes: Any) -> DivergedError:
    arguments = {"data": spoiled_data(np.nan), "optimizer": OPTIMIZER, "params": start(), "epochs": 9} | changes
    chosen = [arguments.pop(name) for name in ("params", "data", "optimizer")]
    with pytest.raises(DivergedError) as caught:
        fit(loss, *chosen, batch_size=BATCH, key=KEY, shuffle=False, **arguments)
    return caught.value


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("watched", [False, True])
def test_a_loss_that_is_not_finite_ends_the_run(value: float, watched: bool) -> None:
    callback = (lambda _: None) if watched else None
    error = diverge(data=spoiled_data(value), callback=callback)
    assert error.batch == 2
    assert (error.step, error.checkpoint) == (error.epoch * 5 + 2, None)
    assert error.epoch > 0
    said = f"step {error.step} (batch 2 of epoch {error.epoch}, counted from 0); there is no checkpoint"
    assert said in str(error)
    assert f"a loss of {value}" in str(error)


def test_the_parameters_before_the_bad_step_survive() -> None:
    error = diverge(ema_decay=0.9)
    result: FitResult = error.result
    assert result.step == error.step == len(result.history.loss)
    assert np.isfinite(result.history.loss).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result[:4]))
    # Those of a run that ends just there.
    rows = np.arange(error.step * BATCH) % len(DATA["y"])
    until = jax.tree.map(lambda leaf: leaf[rows], spoiled_data(0.0))
    expected = fit(spoiled_loss, start(), until, OPTIMIZER, epochs=1, batch_size=BATCH, key=KEY, shuffle=False,
                   ema_decay=0.9)  # fmt: skip
    assert_same(result[:4], expected[:4])
    np.testing.assert_array_equal(result.history.loss, expected.history.loss)
    assert result.history.epochs["loss"].shape == (error.epoch,)


def test_a_gradient_that_is_not_finite_ends_the_run_before_it_does_harm() -> None:
    still = {"w": jnp.zeros(3), "b": jnp.zeros(())}
    error = diverge(root_loss, params=still, data=spoiled_data(0.0), optimizer=optax.sgd(0.01))
    assert (error.step, error.batch) == (0, 0)
    assert "a gradient that is not finite" in str(error)
    assert_same(error.result.params, still)


def test_state_that_is_not_finite_ends_the_run() -> None:
    def stateful(params: Tree, state: Tree, batch: Tree, key: jax.Array) -> Any:
        return loss(params, batch, key)[0], (state + batch["spoil"].sum(), {})

    error = diverge(stateful, state=jnp.float32(0))
    assert error.step == 2
    assert float(error.result.state) == 0


def test_a_metric_may_be_anything() -> None:
    def told(params: Tree, batch: Tree, key: jax.Array) -> Any:
        return loss(params, batch, key)[0], {"ratio": jnp.float32(jnp.nan)}

    result = fit(told, start(), DATA, OPTIMIZER, epochs=1, batch_size=BATCH, key=KEY)
    assert np.isnan(result.history.metrics["ratio"]).all()


@pytest.mark.parametrize("order", [("good", "bad"), ("bad", "good")])
def test_if_one_player_diverges_all_keep_their_values(order: tuple[str, str]) -> None:
    def good(params: Tree, state: Tree, batch: Tree, key: jax.Array) -> Tree:
        return params["good"] ** 2, (state + 1, {})

    def bad(params: Tree, state: Tree, batch: Tree, key: jax.Array) -> Tree:
        return params["bad"] * batch["spoil"].sum(), (state, {})

    params = {"good": jnp.float32(1), "bad": jnp.float32(1)}
    losses = {name: {"good": good, "bad": bad}[name] for name in order}
    optimizers = dict.fromkeys(order, optax.sgd(0.25, momentum=0.5))
    error = diverge(losses, params=params, optimizer=optimizers, state=jnp.int32(0))
    assert error.step == error.result.state == 2
    # 1 - 0.25 * 2, then 0.5 - 0.25 * (1 + 0.5 * 2).
    assert_same(error.result.params, {"good": jnp.float32(0), "bad": jnp.float32(1)})
    assert float(error.result.optimizer_state["good"][0].trace) == 2


def test_a_custom_update_without_guards_keeps_nothing_bad() -> None:
    def step(params: Tree, optimizer_state: Tree, state: Tree, batch: Tree, key: Any, mask: Any) -> Stepped:
        moved = params - batch["spoil"].sum() - 1
        return Stepped(moved, optimizer_state + 1, state, moved, {}, jnp.asarray(True))

    error = diverge(Update(lambda _: jnp.int32(0), step), params=jnp.float32(0), optimizer=None)
    assert (error.step, float(error.result.params), int(error.result.optimizer_state)) == (2, -2, 2)
