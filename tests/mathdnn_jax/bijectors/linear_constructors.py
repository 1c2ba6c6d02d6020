"""The linear maps and image maps of the library, in the shapes that users meet."""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax import chain
from mathdnn_jax.bijectors import (
    actnorm,
    additive_coupling,
    conditional_plu_coupling,
    conv1x1,
    permutation,
    plu,
    reshape,
    scaling,
    split,
    squeeze,
)
from mathdnn_jax.nets import MLP

from .case import Case


class Pooled(nn.Module):
    """A number of features of a whole image of any size (and of a context), smooth in it."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array, context: jax.Array | None = None) -> jax.Array:
        h = jnp.tanh(nn.Conv(4, (3, 3))(x)).mean((-3, -2))
        if context is not None:
            h = jnp.concatenate([h, context], -1)
        return nn.Dense(self.features)(h)


class Flattened(nn.Module):
    """A number of features of an image of one size."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(self.features)(jnp.tanh(x.reshape(*x.shape[:-3], math.prod(x.shape[-3:]))))


NESTED = split(
    chain(
        squeeze=squeeze((2, 2, 2)),
        conv=conv1x1(8),
        split=split(actnorm(3), (1, 1, 8), MLP((10,), nn.tanh), kept=3),
    ),
    (2, 2, 4),
    MLP((4,)),
)
CONTEXT = split(
    additive_coupling(MLP((2, 1)), np.array([True, False]), context_shape=(2,)),
    (5,),
    MLP((3, 6), nn.tanh),
    kept=2,
    context_shape=(2,),
)

LINEAR: dict[str, Case] = {
    "plu of one entry": Case(plu(1), (1,), long=True),
    "plu of two entries": Case(plu(2, (1, 0)), (2,), long=True),
    "plu of an odd dimension": Case(plu(5), (5,), long=True),
    "plu with a permutation": Case(plu(6, (3, 0, 4, 5, 2, 1)), (6,)),
    "1×1 convolution": Case(conv1x1(3, (2, 0, 1)), (2, 3, 3)),
    "1×1 convolution of more channels than pixels": Case(conv1x1(4, (1, 2, 3, 0)), (1, 3, 4), long=True),
    "1×1 convolution of one pixel": Case(conv1x1(4), (1, 1, 4), long=True),
    "1×1 convolution of one channel": Case(conv1x1(1), (2, 2, 1), long=True),
    "conditional PLU coupling": Case(conditional_plu_coupling(Pooled(9), 3, permutation=(2, 0, 1)), (2, 3, 6)),
    "conditional PLU coupling of two channels and one pixel": Case(
        conditional_plu_coupling(Pooled(1), 1), (1, 1, 2), long=True
    ),
    "conditional PLU coupling with signs and a bound": Case(
        conditional_plu_coupling(Pooled(9), 3, signs=(-1, 1, -1), log_scale_bound=0.5), (1, 2, 6), long=True
    ),
    "conditional PLU coupling on images of one size": Case(
        conditional_plu_coupling(Flattened(4), 2, image_shape=(2, 2)), (2, 2, 4), long=True
    ),
    "conditional PLU coupling with a context": Case(
        conditional_plu_coupling(Pooled(4), 2, context_shape=(3,)), (2, 1, 4), context_shape=(3,), long=True
    ),
    "permutation": Case(permutation((2, 0, 3, 1)), (4,)),
    "permutation of channels": Case(permutation((2, 0, 1), event_ndims=3), (2, 1, 3), long=True),
    "reshape to a vector": Case(reshape((2, 3, 2), (12,)), (2, 3, 2), (12,)),
    "reshape to an image": Case(reshape((12,), (1, 2, 6)), (12,), (1, 2, 6), long=True),
    "reshape of a number": Case(reshape((), (1,)), (), (1,), long=True),
    "squeeze": Case(squeeze((4, 2, 3)), (4, 2, 3), (2, 1, 12)),
    "actnorm of an image": Case(actnorm(3), (2, 2, 3)),
    "actnorm of one pixel and channel": Case(actnorm(1), (1, 1, 1), long=True),
    "actnorm of a vector": Case(actnorm(5, event_ndims=1), (5,)),
    "split without a prior": Case(split(scaling(2), (4,)), (4,), long=True),
    "split that keeps one of three": Case(split(plu(1), (3,), MLP((4, 4), nn.tanh), kept=1), (3,), long=True),
    "split with a bounded prior": Case(split(scaling(2), (4,), MLP((4,)), log_scale_bound=0.5), (4,)),
    "split of an image, twice": Case(NESTED, (2, 2, 4), (16,), long=True),
    "split with a context": Case(CONTEXT, (5,), context_shape=(2,), long=True),
}
