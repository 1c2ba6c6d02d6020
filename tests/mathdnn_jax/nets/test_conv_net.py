from __future__ import annotations

import jax
import numpy as np
import pytest

from mathdnn_jax.nets import ConvNet, PooledConvNet

from ...drawn import drawn, normal

NETS = {"ConvNet": (ConvNet((5, 4, 3)), (6, 7, 3)), "PooledConvNet": (PooledConvNet(3, width=5), (3,))}
nets = pytest.mark.parametrize(("net", "output_shape"), NETS.values(), ids=NETS.keys())


@nets
def test_a_new_network_returns_zeros(net: ConvNet | PooledConvNet, output_shape: tuple[int, ...]) -> None:
    x = normal(2, 6, 7, 2)
    y = jax.jit(lambda key, x: net.apply(net.init(key, x), x))(jax.random.key(0), x)
    assert isinstance(y, jax.Array)
    np.testing.assert_array_equal(y, np.zeros((2, *output_shape)))


@nets
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_leading_axes_are_batch_axes(
    net: ConvNet | PooledConvNet, output_shape: tuple[int, ...], batch: tuple[int, ...]
) -> None:
    x, apply = np.asarray(normal(*batch, 6, 7, 2)), jax.jit(net.apply)
    variables = drawn(net.init, x)
    y = np.asarray(apply(variables, x))
    assert y.shape == (*batch, *output_shape)
    one_by_one = np.stack([np.asarray(apply(variables, event)) for event in x.reshape(-1, 6, 7, 2)])
    np.testing.assert_allclose(y.reshape(-1, *output_shape), one_by_one, rtol=1e-5, atol=1e-5)


@nets
def test_every_pixel_sees_the_context(net: ConvNet | PooledConvNet, output_shape: tuple[int, ...]) -> None:
    x, context = np.ones((2, 6, 7, 2), np.float32), normal(2, 4)
    y = np.asarray(jax.jit(net.apply)(drawn(net.init, x, context), x, context))
    assert y.shape == (2, *output_shape)
    assert (np.abs(y[0] - y[1]) > 0).all()


def test_the_pooled_network_takes_images_of_any_size() -> None:
    net = PooledConvNet(3, width=5)
    variables = drawn(net.init, np.ones((6, 7, 2), np.float32))
    for shape in ((1, 1, 2), (9, 4, 2)):
        y = jax.eval_shape(net.apply, variables, np.ones(shape, np.float32))
        assert y.shape == (3,)
