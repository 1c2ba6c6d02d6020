"""The linear and image maps of the library, in the shapes that their users meet."""

from __future__ import annotations

import flax.linen as nn
import numpy as np
from case import Case

from mathdnn_jax import (
    MLP,
    actnorm,
    additive_coupling,
    chain,
    conv1x1,
    permutation,
    plu,
    reshape,
    scaling,
    split,
    squeeze,
)

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
    "plu of one entry": Case(plu(1), (1,)),
    "plu of two entries": Case(plu(2, (1, 0)), (2,)),
    "plu of an odd dimension": Case(plu(5), (5,)),
    "plu with a permutation": Case(plu(6, (3, 0, 4, 5, 2, 1)), (6,)),
    "1×1 convolution": Case(conv1x1(3, (2, 0, 1)), (2, 3, 3)),
    "1×1 convolution of more channels than pixels": Case(conv1x1(4, (1, 2, 3, 0)), (1, 3, 4)),
    "1×1 convolution of one pixel": Case(conv1x1(4), (1, 1, 4)),
    "1×1 convolution of one channel": Case(conv1x1(1), (2, 2, 1)),
    "permutation": Case(permutation((2, 0, 3, 1)), (4,)),
    "permutation of channels": Case(permutation((2, 0, 1), event_ndims=3), (2, 1, 3)),
    "reshape to a vector": Case(reshape((2, 3, 2), (12,)), (2, 3, 2), (12,)),
    "reshape to an image": Case(reshape((12,), (1, 2, 6)), (12,), (1, 2, 6)),
    "reshape of a number": Case(reshape((), (1,)), (), (1,)),
    "squeeze": Case(squeeze((4, 2, 3)), (4, 2, 3), (2, 1, 12)),
    "actnorm of an image": Case(actnorm(3), (2, 2, 3)),
    "actnorm of one pixel and channel": Case(actnorm(1), (1, 1, 1)),
    "actnorm of a vector": Case(actnorm(5, event_ndims=1), (5,)),
    "split without a prior": Case(split(scaling(2), (4,)), (4,)),
    "split that keeps one of three": Case(split(plu(1), (3,), MLP((4, 4), nn.tanh), kept=1), (3,)),
    "split with a bounded prior": Case(split(scaling(2), (4,), MLP((4,)), log_scale_bound=0.5), (4,)),
    "split of an image, twice": Case(NESTED, (2, 2, 4), (16,)),
    "split with a context": Case(CONTEXT, (5,), context_shape=(2,)),
}
