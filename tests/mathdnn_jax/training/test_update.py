"""Other kinds of losses and updates, and the errors for invalid ones."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mathdnn_jax.errors import ConfigurationError, DataSetError
from mathdnn_jax.training import Stepped, Update, all_finite, fit

from .lines import BATCH, DATA, KEY, OPTIMIZER, Tree, assert_close, assert_same, loss, same, start

GAME = {"left": jnp.float32(1.0), "right": jnp.float32(2.0)}


def left_loss(params: Tree, batch: Tree, key: jax.Array) -> Tree:
    return params["left"] * params["right"] + params["left"] ** 2


def right_loss(params: Tree, batch: Tree, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    return -params["left"] * params["right"] + params["right"] ** 2, {"seen": params["left"]}


def run(loss: Any, params: Any, optimizer: Any, **changes: Any) -> Any:
    arguments: dict[str, Any] = {"epochs": 1, "batch_size": BATCH, "key": KEY} | changes
    return fit(loss, params, arguments.pop("data", DATA), optimizer, **arguments)


def test_players_move_in_turn() -> None:
    rate = 0.1
    result = run({"left": left_loss, "right": right_loss}, GAME, {"left": optax.sgd(rate), "right": optax.sgd(rate)})
    left, right, seen = 1.0, 2.0, []
    for _ in range(5):
        left -= rate * (right + 2 * left)
        seen.append(left)
        right -= rate * (-left + 2 * right)
    np.testing.assert_allclose([result.params["left"], result.params["right"]], [left, right], rtol=1e-5)
    np.testing.assert_allclose(result.history.metrics["seen"], seen, rtol=1e-5)
    np.testing.assert_array_equal(result.history.metrics["left_loss"], result.history.loss)
    np.testing.assert_allclose(result.history.metrics["right_loss"][0], -0.6 * 2 + 4, rtol=1e-5)


def test_players_draw_from_keys_of_their_own_and_share_the_state() -> None:
    def noisy(params: Tree, state: Tree, batch: Tree, key: jax.Array) -> Any:
        return params["left"] * params["right"], ({"n": state["n"] + 1}, {})

    def noisy_too(params: Tree, state: Tree, batch: Tree, key: jax.Array) -> Any:
        return params["right"] * jax.random.normal(key), ({"n": state["n"] * 2}, {"drawn": jax.random.normal(key)})

    def drawing(params: Tree, state: Tree, batch: Tree, key: jax.Array) -> Any:
        value, (state, _) = noisy(params, state, batch, key)
        return value, (state, {"drawn_left": jax.random.normal(key)})

    optimizers = {"left": optax.sgd(0.1), "right": optax.adam(0.1)}
    result = run({"left": drawing, "right": noisy_too}, GAME, optimizers, state={"n": jnp.int32(0)})
    assert int(result.state["n"]) == 2 + 4 + 8 + 16 + 32
    assert not set(result.history.metrics["drawn"].tolist()) & set(result.history.metrics["drawn_left"].tolist())


def test_a_custom_update() -> None:
    def step(params: Tree, optimizer_state: Tree, state: Tree, batch: Tree, key: Any, mask: Any) -> Stepped:
        value, gradient = jax.value_and_grad(lambda params: loss(params, batch, key)[0])(params)
        moved = jax.tree.map(lambda leaf, slope: leaf - jnp.float32(0.01) * jnp.sign(slope), params, gradient)
        return Stepped(moved, optimizer_state + 1, state, value, {}, all_finite(gradient))

    result = run(Update(lambda _: jnp.int32(0), step), start(), None)
    assert int(result.optimizer_state) == 5
    assert_close(result.params, run(loss, start(), optax.sign_sgd(0.01)).params, 1e-6)


def test_an_optimiser_that_asks_for_the_loss_gets_it() -> None:
    plateau = optax.chain(optax.sgd(0.01), optax.contrib.reduce_on_plateau(factor=0.5, patience=1, rtol=1.0))
    result = run(loss, start(), plateau, epochs=2)
    assert float(result.optimizer_state[-1].scale) < 1


def test_an_optimiser_may_have_an_uncompilable_init_and_change_its_dtypes() -> None:
    def init(params: Tree) -> Tree:
        return jax.tree.map(lambda leaf: np.zeros_like(np.asarray(leaf)), params)

    def update(gradient: Tree, state: Tree, params: Tree = None) -> tuple[Tree, Tree]:
        mean = jax.tree.map(lambda old, new: 0.5 * old + 0.5 * new, state, gradient)
        return jax.tree.map(lambda leaf: -0.01 * leaf, mean), jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), mean)

    result = run(loss, start(), optax.GradientTransformation(init, update))
    assert {leaf.dtype for leaf in jax.tree.leaves(result.optimizer_state)} == {jnp.dtype(jnp.float32)}
    assert_close(
        result.params, run(loss, start(), optax.chain(optax.ema(0.5, debias=False), optax.sgd(0.01))).params, 1e-2
    )


def test_a_loss_that_cannot_be_hashed_is_a_loss() -> None:
    class Model:
        __hash__ = None  # type: ignore[assignment]

        def loss(self, params: Tree, batch: Tree, key: jax.Array) -> Any:
            return loss(params, batch, key)

    assert_same(run(Model().loss, start(), OPTIMIZER).params, run(loss, start(), OPTIMIZER).params)


def test_all_finite() -> None:
    assert all_finite({"a": jnp.ones(3), "n": jnp.arange(3)})
    assert all_finite({"n": jnp.arange(3)})
    for bad in (np.nan, np.inf, -np.inf):
        assert not all_finite({"a": jnp.ones(3), "b": jnp.array([0.0, bad])})


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("shape", [(), (1,), (5,), (3, 1), (2, 4), (3, 2, 2, 3), (0,), (3, 0)])
def test_all_finite_sees_every_entry_of_every_shape(shape: tuple[int, ...], dtype: Any) -> None:
    greatest = np.full(shape, jnp.finfo(dtype).max, dtype)
    assert all_finite(jnp.asarray(greatest))
    for bad in (np.nan, np.inf, -np.inf):
        for place in np.ndindex(shape):
            spoilt = greatest.copy()
            spoilt[place] = bad
            assert not all_finite([jnp.ones(2), jnp.asarray(spoilt)])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda params, *_: params["w"], r"scalars, given loss of shape \(3,\)"),
        (lambda params, *_: (params["b"], {"w": params["w"]}), r"scalars, given w of shape \(3,\)"),
        (lambda params, *_: (params["b"], {"loss": params["b"]}), "names other than 'loss'"),
        (lambda params, *_: (params["b"], params["b"]), "dict of scalars"),
    ],
)
def test_a_loss_that_returns_something_else_is_refused(wrong: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        run(wrong, start(), OPTIMIZER)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda params, *_: params["b"], r"must return \(scalar, \(state, metrics\)\)"),
        (
            lambda params, state, *_: (params["b"], ({"m": state["n"]}, {})),
            "return the state in the structure",
        ),
    ],
)
def test_a_loss_that_loses_the_state_is_refused(wrong: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        run(wrong, start(), OPTIMIZER, state={"n": jnp.int32(0)})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": 12}, "leave 4 of 40 examples over"),
        ({"clip_norm": 0.0}, "clip_norm=0"),
        ({"ema_decay": 1.0}, "ema_decay=1"),
        ({"optimizer": None}, "given NoneType as the optimizer"),
        ({"loss": {"a": loss}, "optimizer": {"b": OPTIMIZER}}, r"players \['a'\] need a dict"),
        ({"loss": {"a": loss}, "optimizer": {"a": OPTIMIZER}}, r"players \['a'\], given \['b', 'w'\]"),
        ({"loss": {}, "optimizer": {}}, "one or more players"),
        ({"loss": Update(lambda _: None, lambda *_: None)}, "contains its own optimiser"),  # type: ignore[arg-type]
        ({"param_specs": start()}, "pass the mesh too"),
        ({"evaluate": lambda *_: {"loss": 1.0}}, "names that the loss does not use, given 'loss'"),
    ],
)
def test_inconsistent_arguments_are_refused(changes: dict[str, Any], words: str) -> None:
    chosen = {"loss": loss, "params": start(), "optimizer": OPTIMIZER} | changes
    with pytest.raises(ConfigurationError, match=words):
        run(**chosen)


def test_data_without_a_common_length_is_refused() -> None:
    with pytest.raises(DataSetError, match="same length along their first axes"):
        run(loss, start(), OPTIMIZER, data={"x": DATA["x"], "y": DATA["y"][:-1]})


def test_same_tells_trees_apart() -> None:
    assert_same(GAME, dict(GAME))
    assert not same(GAME, {**GAME, "left": jnp.float32(1.5)})
