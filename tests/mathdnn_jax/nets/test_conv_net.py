from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathdnn_jax.nets import ConvNet, PooledConvNet

NETS = {"ConvNet": (ConvNet((5, 4, 3)), (6, 7, 3)), "PooledConvNet": (PooledConvNet(3, width=5), (3,))}
nets = pytest.mark.parametrize(("net", "output_shape"), NETS.values(), ids=NETS.keys())


def perturbed(net: ConvNet | PooledConvNet, *inputs: jax.Array) -> dict[str, dict[str, jax.Array]]:
    """The network's variables away from their first values, which are zero in the last layer."""
    variables = net.init(jax.random.key(0), *inputs)
    leaves, structure = jax.tree.flatten(variables)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [leaf + 0.3 * jax.random.normal(k, leaf.shape) for leaf, k in zip(leaves, keys, strict=True)]
    unflattened: dict[str, dict[str, jax.Array]] = jax.tree.unflatten(structure, moved)
    return unflattened


@nets
def test_a_new_network_returns_zeros(net: ConvNet | PooledConvNet, output_shape: tuple[int, ...]) -> None:
    x = jax.random.normal(jax.random.key(2), (2, 6, 7, 2))
    y = net.apply(net.init(jax.random.key(0), x), x)
    assert isinstance(y, jax.Array)
    np.testing.assert_array_equal(y, np.zeros((2, *output_shape)))


@nets
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_leading_axes_are_batch_axes(
    net: ConvNet | PooledConvNet, output_shape: tuple[int, ...], batch: tuple[int, ...]
) -> None:
    x = jax.random.normal(jax.random.key(2), (*batch, 6, 7, 2))
    variables = perturbed(net, x)
    y = net.apply(variables, x)
    assert isinstance(y, jax.Array)
    assert y.shape == (*batch, *output_shape)
    one_by_one = np.stack([np.asarray(net.apply(variables, event)) for event in x.reshape(-1, 6, 7, 2)])
    np.testing.assert_allclose(y.reshape(-1, *output_shape), one_by_one, rtol=1e-5, atol=1e-5)


@nets
def test_every_pixel_sees_the_context(net: ConvNet | PooledConvNet, output_shape: tuple[int, ...]) -> None:
    x, context = jnp.ones((2, 6, 7, 2)), jax.random.normal(jax.random.key(3), (2, 4))
    variables = perturbed(net, x, context)
    y = np.asarray(net.apply(variables, x, context))
    assert y.shape == (2, *output_shape)
    assert (np.abs(y[0] - y[1]) > 0).all()


def test_the_pooled_network_takes_images_of_any_size() -> None:
    net = PooledConvNet(3, width=5)
    variables = perturbed(net, jnp.ones((6, 7, 2)))
    for shape in ((1, 1, 2), (9, 4, 2)):
        y = net.apply(variables, jnp.ones(shape))
        assert isinstance(y, jax.Array)
        assert y.shape == (3,)
