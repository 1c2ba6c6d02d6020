"""Dense heads as convolutions are equal on the old size, slide over larger images and share the large matrix."""

from __future__ import annotations

import functools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mathdnn_jax
from mathdnn_jax import errors, nets
from mathdnn_jax.nets import Sequential

from .random_networks import Variables, apply, events, random_variables, rounding


def check(found: np.ndarray, network: Sequential, variables: Variables, x: np.ndarray) -> None:
    """Compare up to rounding: both networks add the same products, in different orders."""
    bound = 2 * rounding(network, variables, x) * np.finfo(np.float64).eps
    assert (np.abs(found - apply(network, variables, x)) <= bound).all()


@pytest.mark.parametrize("flatten", ["last", "first"])
def test_net1_becomes_net2_and_slides(flatten: Literal["last", "first"]) -> None:
    network = mathdnn_jax.net1(channels=(3, 5, 4, 4, 6), hidden=7, flatten=flatten)
    variables = random_variables(network, 0, (32, 32, 3))
    sliding, new, report = mathdnn_jax.dense_to_conv(network, variables, (32, 32, 3))
    assert sliding == mathdnn_jax.net2(channels=(3, 5, 4, 4, 6), hidden=7)
    assert {entry.layer: entry.action for entry in report.layers}["classifier_0"] == "changed"
    x = events(0, (36, 38, 3))
    output = apply(sliding, new, x)
    patches = np.stack([x[:, i : i + 32, j : j + 32] for i in range(5) for j in range(7)], 1)
    check(output.reshape(-1, 10), network, variables, patches.reshape(-1, 32, 32, 3))
    whole = apply(sliding, new, x[:, :32, :32])
    assert whole.shape == (2, 1, 1, 10)
    check(whole[:, 0, 0], network, variables, x[:, :32, :32])


def test_strides_and_pools_slide_too() -> None:
    network = Sequential(
        conv=nets.Conv(4, (3, 2), stride=(2, 1)),
        act=nets.LeakyRelu(),
        pool=nets.MaxPool((2, 3), 2),
        drop=nets.Dropout(),
        flatten=nets.Flatten("first"),
        fc1=nets.Dense(5, bias=False),
        bn=nets.BatchNorm(),
        fc2=nets.Dense(3),
        again=nets.Flatten(),
    )
    shape = (11, 10, 2)
    variables, x = random_variables(network, 1, shape), events(1, (19, 16, 2))
    sliding, new, report = mathdnn_jax.dense_to_conv(network, variables, shape)
    output = apply(sliding, new, x)
    view = mathdnn_jax.surgery.receptive_fields(network, shape)["drop"]
    assert tuple(map(int, view.stride)) == (4, 2)
    for i, j in np.ndindex(output.shape[1:3]):
        patch = x[:, 4 * i : 4 * i + 11, 2 * j : 2 * j + 10]
        check(output[:, i, j], network, variables, patch)
    assert output.shape[1:3] == (3, 4)
    assert {e.layer for e in report.layers if e.action == "removed"} == {"flatten", "again"}


LOCAL: list[nets.Layer] = [
    nets.Conv(4, (2, 3)),
    nets.Conv(4, 2, stride=(1, 2), groups=2),
    nets.Conv(4, 2, dilation=(2, 1), bias=False),
    nets.MaxPool(2),
    nets.AvgPool((2, 1)),
    nets.LeakyRelu(0.1),
    nets.BatchNorm(),
    nets.Dense(4),
]
HEADS: list[list[nets.Layer]] = [
    [nets.Dense(3)],
    [nets.Relu(), nets.Dense(5, bias=False), nets.BatchNorm(), nets.Relu(), nets.Dropout(), nets.Dense(3)],
]


@settings(max_examples=settings().max_examples // 2)  # each example compiles a network
@given(
    local=st.lists(st.sampled_from(LOCAL), max_size=3),
    order=st.sampled_from([nets.Flatten("last"), nets.Flatten("first")]),
    head=st.sampled_from(HEADS),
    seed=st.integers(0, 99),
)
def test_any_network_without_padding_slides(
    local: list[nets.Layer], order: nets.Flatten, head: list[nets.Layer], seed: int
) -> None:
    shape = (9, 8, 2)
    layers = [*local, order, *head]
    network = Sequential(layers=[(f"l{k}", layer) for k, layer in enumerate(layers)])
    try:
        network.output_shapes(shape)
    except errors.ImageError:
        return
    variables = random_variables(network, seed, shape)
    sliding, new, _ = mathdnn_jax.dense_to_conv(network, variables, shape)
    down, along = map(int, mathdnn_jax.surgery.receptive_fields(network, shape)[f"l{len(local)}"].stride)
    x = events(seed, (9 + down, 8 + 2 * along, 2))
    output = apply(sliding, new, x)
    assert output.shape[1:3] == (2, 3)
    corners = list(np.ndindex(2, 3))
    patches = np.concatenate([x[:, i * down : i * down + 9, j * along : j * along + 8] for i, j in corners])
    check(np.concatenate([output[:, i, j] for i, j in corners]), network, variables, patches)


def test_padding_is_exact_on_the_old_size_and_reported() -> None:
    network = mathdnn_jax.small_net(channels=3, hidden=5, flatten="first")
    variables, x = random_variables(network, 2, (8, 8, 3)), events(2, (8, 8, 3))
    sliding, new, report = mathdnn_jax.dense_to_conv(network, variables)
    check(apply(sliding, new, x)[:, 0, 0], network, variables, x)
    said = {entry.layer: entry.detail for entry in report.layers}
    assert "border" in said["conv1_0"]
    assert "square" in said["flatten"]


def test_the_matrix_after_flatten_last_is_not_copied() -> None:
    network = mathdnn_jax.net1(channels=(3, 3, 3, 3, 4), hidden=6)
    on_host = random_variables(network, 0, (32, 32, 3))
    variables = jax.tree.map(functools.partial(jnp.asarray, dtype=jnp.float32), on_host)
    _, new, _ = mathdnn_jax.dense_to_conv(network, variables, (32, 32, 3))
    for name in ("classifier_0", "classifier_2"):
        old, kernel = (tree["params"][name]["kernel"] for tree in (variables, new))
        assert isinstance(kernel, jax.Array)
        assert kernel.unsafe_buffer_pointer() == old.unsafe_buffer_pointer()
    assert new["params"]["features_0"]["kernel"] is variables["params"]["features_0"]["kernel"]
    _, new, _ = mathdnn_jax.dense_to_conv(network, on_host, (32, 32, 3))
    assert np.shares_memory(new["params"]["classifier_0"]["kernel"], on_host["params"]["classifier_0"]["kernel"])


def test_float64_stays_float64_outside_its_scope() -> None:
    network = mathdnn_jax.net1(channels=(3, 3, 3, 3, 4), hidden=6, flatten="first")
    with jax.enable_x64(True):
        as_jax = functools.partial(jnp.asarray, dtype=jnp.float64)
        variables = jax.tree.map(as_jax, random_variables(network, 3, (32, 32, 3)))
    _, new, _ = mathdnn_jax.dense_to_conv(network, variables, (32, 32, 3))
    assert {leaf.dtype for leaf in jax.tree.leaves(new)} == {np.dtype(np.float64)}


def test_errors_say_what_cannot_slide() -> None:
    network = mathdnn_jax.net1(channels=(3, 3, 3, 3, 4), hidden=6)
    variables = random_variables(network, 0, (32, 32, 3))
    with pytest.raises(errors.EventShapeError, match="36, 38"):
        mathdnn_jax.dense_to_conv(network, variables, (36, 38, 3))
    with pytest.raises(errors.ConfigurationError, match="Flatten"):
        mathdnn_jax.dense_to_conv(
            Sequential(a=nets.Conv(2, 3)), {"params": {"a": {"kernel": np.ones((3, 3, 1, 2)), "bias": np.ones(2)}}}
        )
    oblong = Sequential(conv=nets.Conv(2, 1), flatten=nets.Flatten(), fc=nets.Dense(1))
    variables = random_variables(oblong, 0, (2, 3, 1))
    with pytest.raises(errors.ConfigurationError, match="pass input_shape"):
        mathdnn_jax.dense_to_conv(oblong, variables)
    sliding, _, _ = mathdnn_jax.dense_to_conv(oblong, variables, (2, 3, 1))
    assert dict(sliding.layers)["fc"] == nets.Conv(1, (2, 3))
    normalised = Sequential(conv=nets.Conv(2, 1), flatten=nets.Flatten(), bn=nets.BatchNorm(), fc=nets.Dense(1))
    with pytest.raises(errors.ConfigurationError, match="remove_batch_norm"):
        mathdnn_jax.dense_to_conv(normalised, random_variables(normalised, 0, (2, 3, 1)), (2, 3, 1))
