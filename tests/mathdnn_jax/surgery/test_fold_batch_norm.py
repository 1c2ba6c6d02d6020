"""Batch norms are folded into the layers before them, as bare arrays and in the variables of branched networks."""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mathdnn_jax
from mathdnn_jax.errors import EventShapeError, NonFiniteError, ParameterStructureError
from mathdnn_jax.nets import BatchNorm, Conv, ConvTranspose, Dense, Sequential
from mathdnn_jax.surgery import fold_batch_norm, fold_batch_norms, remove_batch_norm

RNG = np.random.default_rng(0)
EPSILON = 0.02


def norm_arrays(count: int) -> dict[str, Any]:
    """γ of either sign, β, μ and σ², float64."""
    return {
        "scale": RNG.normal(size=count),
        "shift": RNG.normal(size=count),
        "mean": RNG.normal(size=count),
        "var": RNG.uniform(0.1, 2, count),
    }


def test_the_formula_on_a_product() -> None:
    w, b, x, n = RNG.normal(size=(4, 6)), RNG.normal(size=6), RNG.normal(size=(5, 4)), norm_arrays(6)
    with jax.enable_x64(True):
        kernel, bias = map(np.asarray, fold_batch_norm(w, b, **n, epsilon=EPSILON))
        bare, shift = map(np.asarray, fold_batch_norm(w, None, mean=n["mean"], var=n["var"], epsilon=EPSILON))
        turned = np.asarray(fold_batch_norm(w.T, b, **n, epsilon=EPSILON, axis=0).kernel)
    deviation = np.sqrt(n["var"] + EPSILON)
    want = n["scale"] * (x @ w + b - n["mean"]) / deviation + n["shift"]
    np.testing.assert_allclose(x @ kernel + bias, want, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(x @ bare + shift, (x @ w - n["mean"]) / deviation, rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(turned, kernel.T)


@pytest.mark.parametrize(
    "layer",
    [Dense(6), Conv(6, 3, groups=2, padding=1, bias=False), ConvTranspose(6, (3,), stride=2, groups=2)],
    ids=lambda layer: layer.kind,
)
def test_it_equals_the_surgery_to_the_bit(layer: Any) -> None:
    shape = {"Dense": (4,), "Conv": (5, 5, 4), "ConvTranspose": (5, 4)}[layer.kind]
    network = Sequential(a=layer, n=BatchNorm(epsilon=EPSILON))
    variables = network.init(jax.random.key(0), jnp.zeros((1, *shape)))
    n: dict[str, Any] = {name: array.astype(np.float32) for name, array in norm_arrays(6).items()}
    variables["params"]["n"] = {"scale": n["scale"], "bias": n["shift"]}
    variables["batch_stats"]["n"] = {"mean": n["mean"], "var": n["var"]}
    folded, want, _ = remove_batch_norm(network, variables)
    own = variables["params"]["a"]
    given = fold_batch_norm(own["kernel"], own.get("bias"), **n, epsilon=EPSILON)
    assert given.kernel.dtype == given.bias.dtype == jnp.float32
    np.testing.assert_array_equal(given.kernel, want["params"]["a"]["kernel"])
    np.testing.assert_array_equal(given.bias, want["params"]["a"]["bias"])
    tree, report = fold_batch_norms(variables, {"n": "a"}, epsilon=EPSILON)
    chex.assert_trees_all_equal(tree, dict(want), strict=True)
    assert [entry.action for entry in report.layers] == ["changed", "removed"]
    assert [name for name, _ in folded.layers] == ["a"]


def tree() -> dict[str, Any]:
    def conv() -> dict[str, np.ndarray]:
        return {"kernel": RNG.normal(size=(3, 3, 2, 4)).astype(np.float32)}

    def norm() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        n: dict[str, Any] = {name: array.astype(np.float32) for name, array in norm_arrays(4).items()}
        return {"scale": n["scale"], "bias": n["shift"]}, {"mean": n["mean"], "var": n["var"]}

    norms = [norm() for _ in range(3)]
    return {
        "params": {
            "block": {"conv1": conv(), "bn1": norms[0][0], "conv2": conv(), "bn2": norms[1][0]},
            "first": norms[2][0],
            "head": {"kernel": np.ones((4, 2), np.float32), "bias": np.ones(2, np.float32)},
        },
        "batch_stats": {"block": {"bn1": norms[0][1], "bn2": norms[1][1]}, "first": norms[2][1]},
        "other": {"count": np.int32(3)},
    }


def test_a_tree_is_folded_by_its_pairs_and_the_report_says_what_is_left() -> None:
    variables = tree()
    new, report = fold_batch_norms(variables, {"block/bn1": "block/conv1", "block/bn2": "block/conv2"}, epsilon=EPSILON)
    assert jax.tree.map(np.shape, new) == {
        "params": {
            "block": {name: {"kernel": (3, 3, 2, 4), "bias": (4,)} for name in ("conv1", "conv2")},
            "first": {"scale": (4,), "bias": (4,)},
            "head": {"kernel": (4, 2), "bias": (2,)},
        },
        "batch_stats": {"first": {"mean": (4,), "var": (4,)}},
        "other": {"count": ()},
    }
    assert new["params"]["head"]["kernel"] is variables["params"]["head"]["kernel"]
    assert "bn1" in variables["params"]["block"]
    assert report.left == ("first",)
    assert {entry.layer: entry.action for entry in report.layers} == {
        "block/conv1": "changed",
        "block/bn1": "removed",
        "block/conv2": "changed",
        "block/bn2": "removed",
        "first": "left",
        "head": "kept",
    }
    assert "block/bn1    BatchNorm     removed   folded into block/conv1, which comes before it" in report.describe()
    assert "there was nothing to do" not in report.describe()


def test_where_there_is_no_batch_norm_nothing_is_done() -> None:
    variables = {"params": {"fc": {"kernel": np.ones((2, 2), np.float32)}}}
    new, report = fold_batch_norms(variables, {}, epsilon=EPSILON)
    chex.assert_trees_all_equal(new, variables, strict=True)
    assert new["params"]["fc"]["kernel"] is variables["params"]["fc"]["kernel"]
    assert report.describe().splitlines()[-1] == "there was nothing to do"
    network = Sequential(a=Dense(3))
    *_, report = remove_batch_norm(network, network.init(jax.random.key(0), jnp.zeros((1, 2))))
    assert report.describe().splitlines()[-1] == "there was nothing to do"


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ({"block/bn3": "block/conv1"}, "block/bn3 is not a batch norm"),
        ({"block/bn1": "block"}, "block is not a layer with a kernel"),
        ({"block/bn1": "block/conv1", "block/bn2": "block/conv1"}, "block/conv1 is named by several"),
    ],
)
def test_pairs_that_name_nothing_are_refused(pairs: dict[str, str], words: str) -> None:
    with pytest.raises(ParameterStructureError, match=f"{words}.*Batch norms here: block/bn1, block/bn2, first"):
        fold_batch_norms(tree(), pairs, epsilon=EPSILON)


def test_arrays_that_do_not_fit_are_refused() -> None:
    n = norm_arrays(4)
    with pytest.raises(EventShapeError, match=r"4 output channels along axis -1.*given bias \(3,\), var \(5,\)"):
        fold_batch_norm(np.ones((2, 4)), np.ones(3), **{**n, "var": np.ones(5)}, epsilon=EPSILON)
    with pytest.raises(NonFiniteError, match=r"^variance \+ epsilon must be positive, but is -1 in channel 2 \(1 of 4"):
        fold_batch_norm(np.ones((2, 4)), None, **{**n, "var": np.array([1, 1, -1.0, 1])}, epsilon=0)
    with pytest.raises(NonFiniteError, match="the new kernel does not fit into float16"):
        fold_batch_norm(np.full((2, 4), 6e4, np.float16), None, **{**n, "scale": np.full(4, 99.0)}, epsilon=EPSILON)
    variables = tree()
    with pytest.raises(EventShapeError, match=r"^block/bn1 into head: a kernel of shape \(4, 2\) has 2 output"):
        fold_batch_norms(variables, {"block/bn1": "head"}, epsilon=EPSILON)


def test_both_are_public() -> None:
    assert mathdnn_jax.fold_batch_norm is fold_batch_norm
    assert mathdnn_jax.fold_batch_norms is fold_batch_norms
