"""The layout of a weight that the network does something to before its product, and what the caller says about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import parity
from mathdnn_jax.errors import ConfigurationError
from parity import errors

RNG = np.random.default_rng(0)
WEIGHT = RNG.normal(size=(6, 6)).astype(np.float32)
STATE = {"fc.weight": WEIGHT, "fc.bias": RNG.normal(size=6).astype(np.float32)}
SQUARE, VECTOR = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((6, 6), (6,)))
TREE = {"params": {"fc": {"kernel": SQUARE, "bias": VECTOR}}}
X = RNG.normal(size=(5, 6)).astype(np.float32)
MASK = np.tril(np.ones((6, 6), np.float32))

Product = Callable[[Any, Any], Any]
BEFORE: dict[str, tuple[Product, Product]] = {
    "nothing": (lambda x, k: x @ k, lambda x, w: x @ w.T),
    "a mask": (lambda x, k: x @ (k * MASK.T), lambda x, w: x @ (w * MASK).T),
    "a scale, transposed": (lambda x, k: x @ (0.5 * k.T).T, lambda x, w: x @ (0.5 * w).T),
    "a standardisation": (
        lambda x, k: x @ ((k - k.mean(0)) / k.std(0)),
        lambda x, w: x @ ((w - w.mean(1, keepdims=True)) / w.std(1, keepdims=True)).T,
    ),
    "a sum with its mean": (
        lambda x, k: x @ (k.mean(0) + k),
        lambda x, w: x @ (w + w.mean(1, keepdims=True)).T,
    ),
    "a clip and a cast": (
        lambda x, k: x @ jnp.clip(k, -1, 1).astype(jnp.float32),
        lambda x, w: x @ np.clip(w, -1, 1).T,
    ),
    "heads": (
        lambda x, k: jnp.einsum("bi,iho->bho", x, jnp.tanh(k).reshape(6, 2, 3)).reshape(-1, 6),
        lambda x, w: x @ np.tanh(w).T,
    ),
    "halves": (lambda x, k: jnp.concatenate([x @ k[:, :3], x @ k[:, 3:]], 1), lambda x, w: x @ w.T),
    "columns in a loop": (lambda x, k: jax.lax.map(lambda column: x @ column, k.T).T, lambda x, w: x @ w.T),
    "column by column": (lambda x, k: jnp.stack([x @ k[:, i] for i in range(6)], 1), lambda x, w: x @ w.T),
    "a jitted sign": (lambda x, k: x @ jax.jit(jnp.sign)(k), lambda x, w: x @ np.sign(w).T),
}


def network(product: Product) -> Callable[[Any, Any], Any]:
    def apply(variables: Any, x: Any) -> Any:
        fc = variables["params"]["fc"]
        return product(x, fc["kernel"]) + fc["bias"]

    return apply


@pytest.mark.parametrize("case", BEFORE)
def test_a_square_kernel_is_followed_to_its_product(case: str) -> None:
    here, there = BEFORE[case]
    table = parity.infer_rules(STATE, TREE, apply=network(here), inputs=X)
    converted = parity.convert(STATE, TREE, table)
    y, want = np.asarray(network(here)(converted, X)), there(X, WEIGHT) + STATE["fc.bias"]
    assert y.shape == want.shape == (5, 6)
    np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(converted["params"]["fc"]["kernel"], WEIGHT.T)


@pytest.mark.parametrize(
    "product",
    [
        lambda x, k: x @ k.T,
        lambda x, k: jax.lax.map(lambda row: x @ row, k).T,
        lambda x, k: jnp.stack([x @ k[i] for i in range(6)], 1),
    ],
)
def test_a_kernel_that_is_as_in_pytorch_is_followed_too(product: Product) -> None:
    table = parity.infer_rules(STATE, TREE, apply=network(product), inputs=X)
    converted = parity.convert(STATE, TREE, table)
    np.testing.assert_array_equal(converted["params"]["fc"]["kernel"], WEIGHT)


@pytest.mark.parametrize(
    "product",
    [
        lambda x, k: x @ (k * x.mean()),
        lambda x, k: x @ (k @ jnp.ones((6, 6))),
        lambda x, k: x * k.sum(0),
        lambda x, k: x @ jnp.sort(k, 0),
        lambda x, k: x @ (jnp.tril(k) + jnp.tril(k, -1).T),
        lambda x, k: x @ (k - k.T),
        lambda x, k: x @ jax.lax.fori_loop(0, 3, lambda _, power: power @ k, jnp.eye(6)),
        lambda x, k: x @ jnp.linalg.matrix_power(k, 3),
    ],
    ids=[
        *("with the data", "a product of parameters", "summed", "sorted", "symmetric", "antisymmetric"),
        *("a power in a loop", "a power"),
    ],
)
def test_what_the_trace_does_not_show_is_asked(product: Product) -> None:
    apply = network(product)
    with pytest.raises(errors.AmbiguousRulesError, match=r"fc\.weight: linear or same\n.*layouts=") as caught:
        parity.infer_rules(STATE, TREE, apply=apply, inputs=X)
    assert "choose with layouts={path: layout}" in str(caught.value)
    for pattern in ("fc/kernel", "params/fc/kernel", "*/kernel", "f?/kernel"):
        for layout in ("linear", "same"):
            table = parity.infer_rules(STATE, TREE, apply=apply, inputs=X, layouts={pattern: layout})
            assert {rule.target: rule.layout for rule in table.rules} == {
                "params/fc/kernel": layout,
                "params/fc/bias": "same",
            }


def test_the_caller_is_believed_against_the_trace() -> None:
    apply = network(lambda x, k: x @ k)
    table = parity.infer_rules(STATE, TREE, apply=apply, inputs=X, layouts={"fc/kernel": "same"})
    converted = parity.convert(STATE, TREE, table)
    np.testing.assert_array_equal(converted["params"]["fc"]["kernel"], WEIGHT)
    assert parity.export(converted, table)["fc.weight"].tobytes() == WEIGHT.tobytes()
    for layouts, words in (
        ({"fc/kernel": "sideways"}, "got 'sideways'; there are same, linear"),
        ({"fc/kernel": "flattened x"}, "got 'flattened x'"),
        ({"fc/kernel": "flattened 5"}, "has no effect for fc/kernel"),
        ({"fc/bias": "linear"}, "has no effect for fc/bias"),
        ({"gc/*": "same"}, r"has no effect for gc/\*"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            parity.infer_rules(STATE, TREE, apply=apply, inputs=X, layouts=layouts)
    flat = parity.infer_rules(STATE, TREE, apply=apply, inputs=X, layouts={"*": "flattened 3"})
    assert {rule.target: dict(rule.options) for rule in flat.rules}["params/fc/kernel"] == {"channels": 3}


def test_a_state_that_is_not_transposed_is_so_as_a_whole() -> None:
    """GPT-2's `Conv1D` keeps (in, out), and only its square weights would fit transposed."""
    sizes = {"c_fc": (4, 9), "c_proj": (9, 4), "c_out": (4, 4)}
    state = {f"{name}.weight": RNG.normal(size=size).astype(np.float32) for name, size in sizes.items()}
    tree = {"params": {name: {"kernel": jax.ShapeDtypeStruct(size, jnp.float32)} for name, size in sizes.items()}}

    def apply(variables: Any, x: Any) -> Any:
        for name in sizes:
            x = jnp.tanh(x @ variables["params"][name]["kernel"])
        return x

    x = X[:, :4]
    with pytest.raises(errors.AmbiguousRulesError, match=r"each other's names: c_proj to c_fc, c_fc to c_proj\. Are"):
        parity.infer_rules(state, tree, apply=apply, inputs=x)
    alone = {"params": {"c_fc": tree["params"]["c_fc"]}}
    with pytest.raises(errors.UnmatchedArraysError, match=r"target c_fc \{weight \(4, 9\)\} against source nothing"):
        parity.infer_rules({"c_fc.weight": state["c_fc.weight"]}, alone)
    two = {"c_fc/kernel": "same", "c_proj/kernel": "same"}
    with pytest.raises(errors.AmbiguousRulesError, match=r"c_out/kernel from c_out\.weight: linear or same"):
        parity.infer_rules(state, tree, apply=apply, inputs=x, layouts=two)
    table = parity.infer_rules(state, tree, apply=apply, inputs=x, layouts={"*/kernel": "same"})
    want = x
    for name in sizes:
        want = np.tanh(want @ state[f"{name}.weight"])
    np.testing.assert_allclose(apply(parity.convert(state, tree, table), x), want, rtol=1e-5, atol=1e-6)


def test_a_convolution_of_one_pixel_fills_a_dense_layer() -> None:
    state = {"fc.weight": WEIGHT[:, :, None], "fc.bias": STATE["fc.bias"]}
    table = parity.infer_rules(state, TREE, apply=network(lambda x, k: x @ k), inputs=X)
    converted = parity.convert(state, TREE, table)
    np.testing.assert_array_equal(converted["params"]["fc"]["kernel"], WEIGHT.T)
    assert parity.export(converted, table)["fc.weight"].tobytes() == state["fc.weight"].tobytes()


def test_a_parameter_that_is_in_no_layer_has_no_convention() -> None:
    state = {f"mix.{k}": RNG.normal(size=(6, 6)).astype(np.float32) for k in range(2)}
    tree = {"mix_0": SQUARE, "mix_1": SQUARE}

    def multiplied(variables: Any, x: Any) -> Any:
        return jnp.tanh(x @ variables["mix_0"]) @ variables["mix_1"]

    def added(variables: Any, x: Any) -> Any:
        return jnp.tanh(x[:, None] + variables["mix_0"]) + variables["mix_1"]

    with pytest.raises(errors.AmbiguousRulesError, match=r"mix_0 from mix\.0: same or linear"):
        parity.infer_rules(state, tree, apply=multiplied, inputs=X)
    for apply, layouts, layout in ((added, None, "same"), (multiplied, {"mix_?": "linear"}, "linear")):
        table = parity.infer_rules(state, tree, apply=apply, inputs=X, layouts=layouts)
        assert {rule.target: (rule.sources[0], rule.layout) for rule in table.rules} == {
            f"mix_{k}": (f"mix.{k}", layout) for k in range(2)
        }
