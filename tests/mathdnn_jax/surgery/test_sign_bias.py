"""The sign-bias form is exact, and a convolution and ReLU alone do not suffice."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mathdnn_jax
from mathdnn_jax import nets
from mathdnn_jax.nets import Sequential

from .random_networks import apply, events, random_variables, rounding

SHAPE = (6, 5, 3)


@given(
    slope=st.sampled_from([0.0, 0.01, -0.7, 2.0]),
    signs=st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=4, max_size=4),
    seed=st.integers(0, 99),
)
def test_conv_relu_bn_is_sign_bias(slope: float, signs: list[float], seed: int) -> None:
    network = mathdnn_jax.conv_relu_bn(4, 3, activation=nets.LeakyRelu(slope) if slope else nets.Relu())
    variables, x = random_variables(network, seed, SHAPE, zeros=False), events(seed, SHAPE)
    gamma = np.abs(variables["params"]["bn"]["scale"]) * signs
    variables["params"]["bn"]["scale"] = gamma
    new_network, new, report = mathdnn_jax.to_sign_bias(network, variables)
    assert [layer.kind for _, layer in new_network.layers] == ["Conv", network.layers[1][1].kind, "SignBias"]
    np.testing.assert_array_equal(new["params"]["bn"]["sign"], np.where(gamma < 0, -1, 1))
    statistics = variables["batch_stats"]["bn"]
    magnitude = np.abs(gamma) / np.sqrt(statistics["var"] + 1e-5)
    np.testing.assert_allclose(
        new["params"]["conv"]["kernel"], magnitude * variables["params"]["conv"]["kernel"], rtol=1e-14
    )
    truth = apply(network, variables, x)
    unit = rounding(network, variables, x) + rounding(new_network, new, x)
    for dtype in (np.float64, np.float32):
        assert (np.abs(apply(new_network, new, x, dtype) - truth) <= unit * np.finfo(dtype).eps).all()
    assert report.left == ()


def test_a_convolution_and_relu_alone_do_not_suffice() -> None:
    """Any such network is never negative; with γ < 0 this one is negative wherever the ReLU is not 0."""
    network = mathdnn_jax.conv_relu_bn(1, 1)
    variables = {
        "params": {
            "conv": {"kernel": np.ones((1, 1, 1, 1)), "bias": np.zeros(1)},
            "bn": {"scale": np.array([-1.0]), "bias": np.zeros(1)},
        },
        "batch_stats": {"bn": {"mean": np.zeros(1), "var": np.ones(1)}},
    }
    assert apply(network, variables, np.ones((1, 1, 1, 1))).item() < -0.9


@pytest.mark.parametrize("activation", [nets.Tanh(), nets.Sigmoid(), nets.Gelu()])
def test_other_activations_do_not_let_a_scale_through(activation: nets.Activation) -> None:
    network = mathdnn_jax.conv_relu_bn(4, 3, activation=activation)
    variables, x = random_variables(network, 0, SHAPE, zeros=False), events(0, SHAPE)
    same, _, report = mathdnn_jax.to_sign_bias(network, variables)
    assert same == network
    assert report.left == ("bn",)
    assert "not positively homogeneous" in report.describe()
    # The output if the form were applied nevertheless.
    relu = mathdnn_jax.conv_relu_bn(4, 3)
    _, forced, _ = mathdnn_jax.to_sign_bias(relu, variables)
    wrong = Sequential(conv=nets.Conv(4, 3), activation=activation, bn=nets.SignBias())
    assert np.abs(apply(wrong, forced, x) - apply(network, variables, x)).max() > 0.01


def test_a_batch_norm_without_activation_is_left_to_the_other_surgery() -> None:
    network = Sequential(conv=nets.Conv(4, 3), bn=nets.BatchNorm())
    _, _, report = mathdnn_jax.to_sign_bias(network, random_variables(network, 0, SHAPE))
    assert report.left == ("bn",)


def test_the_sign_receives_no_gradient() -> None:
    layer = nets.SignBias()
    params = {"sign": jnp.array([1.0, -1.0]), "bias": jnp.zeros(2)}
    gradient = jax.grad(lambda p: layer.apply({"params": p}, jnp.ones((3, 2)))[0].sum())(params)
    np.testing.assert_array_equal(gradient["sign"], [0.0, 0.0])
    np.testing.assert_array_equal(gradient["bias"], [3.0, 3.0])


@pytest.mark.parametrize(("sign", "bias"), [(1.0, 0.0), (-1.0, 0.0), (1.0, 0.5)])
def test_a_sign_and_bias_that_change_nothing_are_removed(sign: float, bias: float) -> None:
    network = mathdnn_jax.conv_relu_bn(4, 3)
    variables, x = random_variables(network, 1, SHAPE, zeros=False), events(1, SHAPE)
    norm = variables["params"]["bn"]
    norm["scale"], norm["bias"] = sign * np.abs(norm["scale"]), np.full(4, bias)
    variables["batch_stats"]["bn"]["mean"] *= 0
    short, new, report = mathdnn_jax.remove_batch_norm(network, variables)
    removed = (sign, bias) == (1, 0)
    assert [name for name, _ in short.layers] == ["conv", "activation"] + ["bn"] * (not removed)
    assert ("would be +1 and 0" in report.describe()) == removed
    np.testing.assert_allclose(apply(short, new, x), apply(network, variables, x), rtol=1e-12, atol=1e-12)
