"""Batch norms are removed exactly, or left with a reason."""

from __future__ import annotations

import itertools
import json
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mathdnn_jax
from mathdnn_jax import errors, nets
from mathdnn_jax.nets import BatchNorm, Sequential

from .random_networks import INPUT_SHAPE, apply, events, networks, random_variables, rounding


def fits(network: Sequential) -> bool:
    try:
        network.output_shapes(INPUT_SHAPE)
    except errors.ImageError:
        return False
    return True


@settings(max_examples=settings().max_examples // 2)  # each example compiles a network
@given(network=networks().filter(fits), seed=st.integers(0, 99))
def test_whatever_the_layers_the_output_is_the_same(network: Sequential, seed: int) -> None:
    variables, x = random_variables(network, seed), events(seed)
    truth, unit = apply(network, variables, x), rounding(network, variables, x)
    for surgery in (mathdnn_jax.remove_batch_norm, mathdnn_jax.to_sign_bias):
        changed, new, report = surgery(network, variables)
        left = [name for name, layer in changed.layers if isinstance(layer, BatchNorm)]
        assert list(report.left) == left
        assert all(entry.detail for entry in report.layers if entry.action != "kept")
        assert {entry.layer for entry in report.layers} >= {name for name, _ in network.layers}
        json.dumps(report.as_dict())
        if changed == network:
            assert new["params"] == variables["params"]
            continue
        bound = unit + rounding(changed, new, x)
        assert (np.abs(apply(changed, new, x) - truth) <= bound * np.finfo(np.float64).eps).all()
        assert (np.abs(apply(changed, new, x, np.float32) - truth) <= bound * np.finfo(np.float32).eps).all()


CASES: list[tuple[str, dict[str, nets.Layer], dict[str, str]]] = [
    (
        "after a convolution",
        {"conv": nets.Conv(4, 3, padding=1, groups=2), "bn": BatchNorm()},
        {"bn": "removed", "conv": "changed"},
    ),
    (
        "after one without bias",
        {"conv": nets.Conv(4, 3, bias=False), "bn": BatchNorm()},
        {"bn": "removed", "conv": "changed"},
    ),
    ("after a dense layer", {"fc": nets.Dense(4), "bn": BatchNorm()}, {"bn": "removed", "fc": "changed"}),
    (
        "after a transposed convolution",
        {"up": nets.ConvTranspose(4, 3, stride=2, groups=2), "bn": BatchNorm()},
        {"bn": "removed", "up": "changed"},
    ),
    (
        "a chain",
        {"conv": nets.Conv(4, 3), "bn1": BatchNorm(), "bn2": BatchNorm()},
        {"bn1": "removed", "bn2": "removed"},
    ),
    (
        "before a convolution",
        {"bn": BatchNorm(), "conv": nets.Conv(4, 3, groups=2)},
        {"bn": "removed", "conv": "changed"},
    ),
    (
        "before a padded one",
        {"bn": BatchNorm(), "conv": nets.Conv(4, 3, padding=((1, 0), (0, 2)), groups=2)},
        {"bn": "removed", "conv": "changed", "conv_pad": "inserted"},
    ),
    ("before a dense layer", {"bn": BatchNorm(), "fc": nets.Dense(3)}, {"bn": "removed", "fc": "changed"}),
    (
        "before a flattened one",
        {
            "conv": nets.Conv(4, 3),
            "t": nets.Tanh(),
            "bn": BatchNorm(),
            "flat": nets.Flatten("first"),
            "fc": nets.Dense(3),
        },
        {"bn": "removed", "fc": "changed", "conv": "kept"},
    ),
    (
        "after a ReLU",
        {"conv": nets.Conv(4, 3), "relu": nets.Relu(), "bn": BatchNorm()},
        {"bn": "replaced", "conv": "changed"},
    ),
    (
        "after a leaky ReLU and a pool",
        {"conv": nets.Conv(4, 3), "relu": nets.LeakyRelu(-0.3), "pool": nets.MaxPool(2), "bn": BatchNorm()},
        {"bn": "replaced", "conv": "changed"},
    ),
    (
        "after a ReLU, before a linear layer",
        {
            "conv": nets.Conv(4, 3),
            "relu": nets.Relu(),
            "bn": BatchNorm(),
            "drop": nets.Dropout(),
            "last": nets.Conv(2, 2),
        },
        {"bn": "removed", "conv": "kept", "last": "changed"},
    ),
    (
        "after a ReLU, before a padded layer",
        {"conv": nets.Conv(4, 3), "relu": nets.Relu(), "bn": BatchNorm(), "last": nets.Conv(2, 3, padding=1)},
        {"bn": "replaced", "conv": "changed", "last": "kept"},
    ),
    ("after tanh", {"conv": nets.Conv(4, 3), "tanh": nets.Tanh(), "bn": BatchNorm()}, {"bn": "left"}),
    ("alone", {"bn": BatchNorm()}, {"bn": "left"}),
    ("before an activation", {"bn": BatchNorm(), "relu": nets.Relu(), "conv": nets.Conv(4, 1)}, {"bn": "left"}),
    (
        "before a transposed convolution",
        {"bn": BatchNorm(), "up": nets.ConvTranspose(4, 2)},
        {"bn": "left", "up": "kept"},
    ),
]


@pytest.mark.parametrize(("what", "layers", "actions"), CASES, ids=[case[0] for case in CASES])
def test_each_place_of_a_batch_norm(what: str, layers: dict[str, nets.Layer], actions: dict[str, str]) -> None:
    network = Sequential(layers=layers)
    variables, x = random_variables(network, 5, zeros=False), events(5)
    folded, new, report = mathdnn_jax.remove_batch_norm(network, variables)
    assert {entry.layer: entry.action for entry in report.layers if entry.layer in actions} == actions
    truth = apply(network, variables, x)
    np.testing.assert_allclose(apply(folded, new, x), truth, rtol=1e-12, atol=1e-12 * np.abs(truth).max())
    assert "batch_stats" not in new or report.left


@pytest.mark.parametrize("scale", [0.0, -1.5])
def test_all_signs_of_gamma_and_zero(scale: float) -> None:
    for what, layers, _ in CASES:
        network = Sequential(layers=layers)
        variables, x = random_variables(network, 6, zeros=False), events(6)
        for arrays in variables["params"].values():
            if "scale" in arrays:
                arrays["scale"] = arrays["scale"] * 0 + scale
        folded, new, report = mathdnn_jax.remove_batch_norm(network, variables)
        truth = apply(network, variables, x)
        np.testing.assert_allclose(apply(folded, new, x), truth, rtol=1e-12, atol=1e-12, err_msg=what)
        if what == "before a padded one" and scale == 0:
            (entry,) = [entry for entry in report.layers if entry.layer == "bn"]
            assert entry.action == "left"
            assert "scale is 0" in entry.detail


def test_a_scale_too_small_for_its_padding_value_is_left() -> None:
    network = Sequential(bn=BatchNorm(), conv=nets.Conv(2, 3, padding=1))
    variables, x = random_variables(network, 7, zeros=False), events(7)
    variables["params"]["bn"]["scale"][1] = 1e-30
    single: Any = {
        c: {n: {k: a.astype(np.float32) for k, a in d.items()} for n, d in t.items()} for c, t in variables.items()
    }
    _, _, report = mathdnn_jax.remove_batch_norm(network, single)
    assert report.left == ("bn",)
    subnormal: Any = {**variables, "params": {**variables["params"], "bn": {**variables["params"]["bn"]}}}
    subnormal["params"]["bn"]["scale"] = np.full(4, 1e-310)
    assert mathdnn_jax.remove_batch_norm(network, subnormal)[2].left == ("bn",)
    # In float64 the value is within the limit, and the result is right.
    folded, new, report = mathdnn_jax.remove_batch_norm(network, variables)
    assert report.left == ()
    np.testing.assert_allclose(apply(folded, new, x), apply(network, variables, x), rtol=0, atol=1e-12)


GEOMETRIES = [
    (kernel, stride, dilation, padding, extra)
    for kernel, stride, dilation, padding, extra in itertools.product((1, 2), (1, 2), (1, 2), (0, 1), (0, 1))
    if extra < max(stride, dilation)
]


def test_before_a_transposed_convolution_of_any_geometry() -> None:
    """It is absorbed only where every output is reached by every tap, however kernel, stride and paddings combine."""
    absorbed = 0
    for number, (kernel, stride, dilation, padding, extra) in enumerate(GEOMETRIES):
        up = nets.ConvTranspose(
            4, (kernel,), stride=stride, dilation=dilation, padding=padding, output_padding=extra,
            groups=(1, 2, 4)[number % 3],
        )  # fmt: skip
        network = Sequential(bn=BatchNorm(), up=up)
        variables, x = random_variables(network, number, (5, 4), zeros=False), events(number, (5, 4))
        folded, new, report = mathdnn_jax.remove_batch_norm(network, variables)
        assert len(folded.layers) == 1 + len(report.left)
        absorbed += not report.left
        truth, found = (apply(n, v, x) for n, v in ((network, variables), (folded, new)))
        np.testing.assert_allclose(found, truth, rtol=0, atol=1e-12 * np.abs(truth).max(), err_msg=str(up))
        # One tap and stride 1 reach every output but the extra ones, and it does not matter which outputs are cropped.
        assert (not report.left) == (kernel == stride == 1 and not extra)
    assert 0 < absorbed < len(GEOMETRIES)


def test_a_shift_of_zero_passes_zero_padding() -> None:
    network = Sequential(bn=BatchNorm(), conv=nets.Conv(4, 3, padding=1), up=nets.ConvTranspose(2, 3, stride=2))
    variables, x = random_variables(network, 8), events(8)
    variables["params"]["bn"]["bias"] *= 0
    variables["batch_stats"]["bn"]["mean"] *= 0
    folded, new, report = mathdnn_jax.remove_batch_norm(network, variables)
    assert [name for name, _ in folded.layers] == ["conv", "up"]
    assert report.left == ()
    np.testing.assert_allclose(apply(folded, new, x), apply(network, variables, x), rtol=0, atol=1e-12)


def test_pools_are_passed_only_where_that_is_exact() -> None:
    pooled: dict[str, nets.Layer] = {
        "conv": nets.Conv(4, 3),
        "tanh": nets.Tanh(),
        "bn": BatchNorm(),
        "pool": nets.MaxPool(2),
        "last": nets.Conv(2, 1),
    }
    network = Sequential(layers=pooled)
    variables = random_variables(network, 9, zeros=False)
    scale = variables["params"]["bn"]["scale"]
    variables["params"]["bn"]["scale"] = np.abs(scale)
    assert mathdnn_jax.remove_batch_norm(network, variables)[2].left == ()
    variables["params"]["bn"]["scale"] = -np.abs(scale)
    report = mathdnn_jax.remove_batch_norm(network, variables)[2]
    assert report.left == ("bn",)
    assert "maximum turns into a minimum" in report.describe()
    network = Sequential(layers={**pooled, "pool": nets.AvgPool(2, padding=1)})
    assert "count padded zeros" in mathdnn_jax.remove_batch_norm(network, variables)[2].describe()
    network = Sequential(layers={**pooled, "pool": nets.AvgPool(2, padding=1, count_include_pad=False)})
    assert mathdnn_jax.remove_batch_norm(network, variables)[2].left == ()


def test_the_callers_variables_do_not_change_and_untouched_arrays_are_shared() -> None:
    network = Sequential(conv=nets.Conv(4, 3), bn=BatchNorm(), relu=nets.Relu(), fc=nets.Dense(2))
    variables = random_variables(network, 10)
    copies = jax.tree.map(np.copy, variables)
    before = {name: dict(arrays) for name, arrays in variables["params"].items()}
    _, new, _ = mathdnn_jax.remove_batch_norm(network, variables)
    assert {name: dict(arrays) for name, arrays in variables["params"].items()} == before
    chex.assert_trees_all_equal(variables, copies, strict=True)
    assert new["params"]["fc"]["kernel"] is variables["params"]["fc"]["kernel"]
    assert set(variables["batch_stats"]) == {"bn"}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_arrays_keep_their_dtype(dtype: str) -> None:
    network = Sequential(
        bn0=BatchNorm(), conv=nets.Conv(4, 3, padding=1), bn=BatchNorm(), relu=nets.Relu(), last=BatchNorm()
    )
    drawn = random_variables(network, 11, zeros=False)
    # Tiny variances make weights that float16 cannot hold.
    drawn["batch_stats"] = jax.tree.map(np.ones_like, drawn["batch_stats"])
    with jax.enable_x64(True):
        variables = jax.tree.map(lambda a: jnp.asarray(a, dtype), drawn)
    _, new, _ = mathdnn_jax.remove_batch_norm(network, variables)
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(new)} == {dtype}
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(new))
