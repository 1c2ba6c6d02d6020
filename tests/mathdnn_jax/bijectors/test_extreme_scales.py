"""The checker on maps that stretch some entries by a million, shrink others as much, and mirror half of them."""

from __future__ import annotations

from collections.abc import Callable

import flax.linen as nn
import hypothesis.strategies as st
import jax
import numpy as np
import pytest

from mathdnn_jax import Bijector
from mathdnn_jax.bijectors import Params, actnorm, affine_coupling, conditional_plu_coupling, conv1x1, plu, scaling
from mathdnn_jax.testing import check_bijector

MILLION = np.log(1e6)


class Scales(nn.Module):
    """A conditioner that returns its parameters, whatever its input."""

    size: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        own: jax.Array = self.param("own", nn.initializers.zeros, (self.size,))
        return own + 0 * x.reshape(*x.shape[:-1], -1)[..., :1]


class ImageScales(nn.Module):
    """The same for images: the output drops the last three axes of the input."""

    size: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        own: jax.Array = self.param("own", nn.initializers.zeros, (self.size,))
        return own + 0 * x.mean((-3, -2, -1))[..., None]


def diagonals(dim: int) -> Callable[[np.random.Generator], Params]:
    """Parameters of P L (U + diag s): s of either sign near 1e-6, 1 and 1e6, L and U of moderate size."""

    def draw(rng: np.random.Generator) -> Params:
        lower, upper = rng.normal(size=(2, dim, dim))
        return {"lower": lower, "upper": upper, "diagonal": signed_powers(rng, dim)}

    return draw


def signed_powers(rng: np.random.Generator, size: int) -> np.ndarray:
    return np.asarray(
        rng.choice([-1.0, 1.0], size) * 10.0 ** rng.choice([-6, 0, 6], size) * rng.uniform(0.9, 1.1, size)
    )


def logs(rng: np.random.Generator, size: int) -> np.ndarray:
    return np.asarray(rng.choice([-MILLION, 0, MILLION], size) + rng.normal(size=size) / 10)


def affine(rng: np.random.Generator) -> Params:
    return {"own": np.concatenate([logs(rng, 2), rng.normal(size=2)])}


def conditional(rng: np.random.Generator) -> Params:
    """For two channels: the matrix of L, U and log|s|, row by row."""
    return {"own": (np.diag(logs(rng, 2)) + np.fliplr(np.diag(rng.normal(size=2)))).ravel()}


MAPS: dict[str, tuple[Bijector, tuple[int, ...], Callable[[np.random.Generator], Params]]] = {
    "plu of one": (plu(1), (1,), diagonals(1)),
    "plu": (plu(4), (4,), diagonals(4)),
    "1×1 convolution of one pixel": (conv1x1(3), (1, 1, 3), diagonals(3)),
    "1×1 convolution": (conv1x1(2), (1, 3, 2), diagonals(2)),
    "conditional PLU coupling": (conditional_plu_coupling(ImageScales(4), 2, signs=(1, -1)), (1, 2, 4), conditional),
    "affine coupling": (affine_coupling(Scales(4), np.array([True, False, False])), (3,), affine),
    "scaling": (scaling(3), (3,), lambda rng: {"log_scale": logs(rng, 3)}),
    "actnorm": (
        actnorm(3, event_ndims=1),
        (3,),
        lambda rng: {"log_scale": logs(rng, 3), "bias": rng.normal(size=3)},
    ),
}


@pytest.mark.parametrize(("bijector", "event_shape", "draw"), MAPS.values(), ids=MAPS)
def test_the_checker_passes_it_at_a_millionth_and_a_million(
    bijector: Bijector, event_shape: tuple[int, ...], draw: Callable[[np.random.Generator], Params]
) -> None:
    shapes = jax.tree.map(np.shape, jax.eval_shape(bijector.init, jax.random.key(0)))
    assert jax.tree.map(np.shape, draw(np.random.default_rng(0))) == shapes
    params = st.integers(0, 2**16).map(lambda seed: draw(np.random.default_rng(seed)))
    check_bijector(bijector.forward, bijector.inverse, event_shape=event_shape, params=params, examples=16)
