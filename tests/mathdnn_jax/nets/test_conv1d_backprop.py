from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathdnn_jax import conv1d_backprop
from mathdnn_jax.claims.backprop import equations
from mathdnn_jax.errors import ConfigurationError, EventShapeError
from mathdnn_jax.nets import conv1d_forward
from mathdnn_jax.nets.conv1d_backprop import Activation, Conv1dLayer

ACTIVATIONS: dict[str, tuple[Activation, Activation]] = {
    "tanh": (jnp.tanh, lambda a: 1 - jnp.square(jnp.tanh(a))),
    "sigmoid": (nn.sigmoid, lambda a: nn.sigmoid(a) * nn.sigmoid(-a)),
    "sine": (jnp.sin, jnp.cos),
    "relu": (nn.relu, lambda a: (a > 0).astype(a.dtype)),
}
KERNELS = [(1,), (4,), (3, 1), (2, 5), (3, 4, 2), (1, 6, 1, 3)]

backprop = jax.jit(conv1d_backprop)


def draw(kernels: tuple[int, ...], seed: int) -> tuple[Conv1dLayer, ...]:
    rng = np.random.default_rng(seed)
    return tuple(Conv1dLayer(jnp.asarray(rng.normal(size=f)), jnp.asarray(rng.normal())) for f in kernels)


def receptive_field(kernels: tuple[int, ...]) -> int:
    return 1 + sum(f - 1 for f in kernels)


@functools.cache
def compiled(name: str, closed: bool) -> Callable[..., Any]:
    """The reverse pass under test and JAX's own derivative of the forward pass, for a single example."""
    activation, derivative = ACTIVATIONS[name]

    def both(layers: tuple[Conv1dLayer, ...], x: jax.Array) -> Any:
        theirs = jax.value_and_grad(lambda layers: conv1d_forward(layers, x, activation)[0])(layers)
        return conv1d_backprop(layers, x, activation, derivative if closed else None), theirs

    return jax.jit(both)


def assert_close(mine: Any, theirs: Any) -> None:
    """Equal up to rounding: 1000 times the machine epsilon, relative to 1 + the greatest entry of each array."""
    chex.assert_trees_all_equal_shapes_and_dtypes(mine, theirs)
    for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1000 * np.finfo(np.float64).eps * (1 + float(np.abs(b).max())))


@given(kernels=st.sampled_from(KERNELS), closed=st.booleans(), seed=st.integers(0, 2**31 - 1))
def test_it_is_what_jax_derives_for_kernels_of_any_sizes(kernels: tuple[int, ...], closed: bool, seed: int) -> None:
    check_derivative("tanh", closed, kernels, seed)


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("name", list(ACTIVATIONS))
@given(seed=st.integers(0, 2**31 - 1))
def test_it_is_what_jax_derives_for_any_activation(name: str, closed: bool, seed: int) -> None:
    check_derivative(name, closed, (3, 4, 2), seed)


def check_derivative(name: str, closed: bool, kernels: tuple[int, ...], seed: int) -> None:
    with jax.enable_x64(True):
        layers, x = draw(kernels, seed), np.random.default_rng(seed + 1).normal(size=receptive_field(kernels))
        (y, gradients), (value, expected) = jax.tree.map(np.asarray, compiled(name, closed)(layers, x))
    assert y.shape == (1,)
    assert_close(y[0], value)
    assert_close(gradients, expected)


class ForwardPassTest(chex.TestCase):  # type: ignore[misc]
    @chex.variants(with_jit=True, without_jit=True)  # type: ignore[untyped-decorator]
    def test_the_forward_pass_is_the_matrix_product(self) -> None:
        with jax.enable_x64(True):
            layers = jax.tree.map(np.asarray, draw((3, 4, 2), 0))
            x = np.random.default_rng(1).normal(size=12)
            y = x
            for k, (kernel, bias) in enumerate(layers):
                n = len(y) - len(kernel) + 1
                matrix = np.array(
                    [[kernel[j - i] if 0 <= j - i < len(kernel) else 0 for j in range(len(y))] for i in range(n)]
                )
                y = matrix @ y + float(bias)
                y = y if k == 2 else np.tanh(y)
            np.testing.assert_allclose(self.variant(conv1d_forward)(layers, x), y, rtol=0, atol=1e-13)


def test_unit_cotangents_give_the_rows_of_the_jacobian() -> None:
    with jax.enable_x64(True):
        layers, x = draw((3, 4, 2), 2), jnp.asarray(np.random.default_rng(3).normal(size=11))
        rows = jax.jit(jax.vmap(lambda u: conv1d_backprop(layers, x, cotangent=u)[1]))(np.eye(5))
        assert_close(rows, jax.jit(jax.jacrev(conv1d_forward))(layers, x))


@pytest.mark.parametrize("batch", [(), (1,), (7,), (2, 3), (0,), (2, 0)])
def test_leading_axes_are_batch_axes(batch: tuple[int, ...]) -> None:
    with jax.enable_x64(True):
        layers, rng = draw((3, 4), 4), np.random.default_rng(5)
        x, u = rng.normal(size=(*batch, 8)), rng.normal(size=(*batch, 3))
        y, gradients = jax.tree.map(np.asarray, backprop(layers, x, cotangent=u))
        assert y.shape == jax.eval_shape(conv1d_forward, layers, x).shape == (*batch, 3)
        assert [leaf.shape for leaf in jax.tree.leaves(gradients)] == [(*batch, 3), batch, (*batch, 4), batch]
        for index in np.ndindex(batch):
            one_y, one = backprop(layers, x[index], cotangent=u[index])
            assert_close(y[index], one_y)
            assert_close(jax.tree.map(lambda leaf, at=index: leaf[at], gradients), one)


@pytest.mark.parametrize("batch", [(), (3,)])
def test_there_are_convolutions_and_no_matrices(batch: tuple[int, ...]) -> None:
    n, kernels = 1000, (5, 9, 2)
    layers, x = draw(kernels, 6), jnp.zeros((*batch, n))
    u = jnp.ones(n - receptive_field(kernels) + 1)
    program = jax.make_jaxpr(lambda layers, x: conv1d_backprop(layers, x, cotangent=u))(layers, x)
    found = list(equations(program.jaxpr))
    names = [equation.primitive.name for equation in found]
    assert "dot_general" not in names
    # Three forward, three by the kernels, and transposed ones for all layers but the first.
    assert names.count("conv_general_dilated") == 8
    largest = max(variable.aval.size for equation in found for variable in equation.outvars)
    assert largest <= 3 * (n + 16)


def test_a_derivative_of_the_last_layer_is_a_mistake() -> None:
    # Erratum E5: the published v_L has a factor σ′(a_L), although the last layer has no activation.
    with jax.enable_x64(True):
        layers, x = draw((3, 2), 7), jnp.asarray(np.random.default_rng(8).normal(size=4))
        y, right = backprop(layers, x)
        _, wrong = jax.tree.map(np.asarray, backprop(layers, x, cotangent=1 - np.square(np.tanh(y))))
        expected = jax.tree.map(np.asarray, jax.jit(jax.grad(lambda layers: conv1d_forward(layers, x)[0]))(layers))
        assert_close(right, expected)
        for mistaken, leaf in zip(jax.tree.leaves(wrong), jax.tree.leaves(expected), strict=True):
            assert np.abs(mistaken - leaf).max() > 0.05 * np.abs(leaf).max()
        # Where the factor is 1 it does no harm: the identity as σ.
        _, gradients = jax.jit(lambda layers: conv1d_backprop(layers, x, lambda a: a, jnp.ones_like))(layers)
        assert_close(gradients, jax.jit(jax.grad(lambda layers: conv1d_forward(layers, x, lambda a: a)[0]))(layers))


def test_float32_stays_float32() -> None:
    layers = tuple(Conv1dLayer(*map(jnp.float32, layer)) for layer in draw((3, 2), 9))
    y, gradients = backprop(layers, np.ones(4, np.float32))
    assert {leaf.dtype for leaf in jax.tree.leaves((y, gradients))} == {np.dtype(np.float32)}


def test_bad_input_is_named() -> None:
    layers, x = draw((3, 2), 0), jnp.zeros(6, jnp.float32)
    with pytest.raises(ConfigurationError, match="got no layers"):
        conv1d_forward([], x)
    with pytest.raises(ConfigurationError, match=r"layer 1 has a kernel of shape \(2, 1\)"):
        conv1d_forward([layers[0], Conv1dLayer(jnp.zeros((2, 1)), jnp.zeros(()))], x)
    with pytest.raises(ConfigurationError, match=r"a bias of shape \(1,\)"):
        conv1d_backprop([Conv1dLayer(jnp.zeros(2), jnp.zeros(1))], x)
    with pytest.raises(EventShapeError, match="at least 4 entries, the receptive field of kernels of 3, 2"):
        conv1d_forward(layers, jnp.zeros((9, 3)))
    with pytest.raises(EventShapeError, match=r"y_L has 3 entries.*an x of 4 entries"):
        conv1d_backprop(layers, x)
    with pytest.raises(EventShapeError, match=r"a cotangent of shape \(4,\); expected \(3,\) or y_L's \(3,\)"):
        conv1d_backprop(layers, x, cotangent=jnp.zeros(4))
