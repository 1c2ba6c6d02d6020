"""Every bijector of the library, in the shapes that users meet: the table that drives the shared tests."""

from __future__ import annotations

import flax.linen as nn
import numpy as np

from mathdnn_jax import chain, glow, invert, nice, real_nvp
from mathdnn_jax.bijectors import additive_coupling, affine_coupling, scaling
from mathdnn_jax.nets import MLP

from .case import Case
from .linear_constructors import LINEAR
from .monotone_constructors import MONOTONE


def coupling(mask: np.ndarray, long: bool = False) -> Case:
    """An additive coupling on a mask, with a small perceptron."""
    return Case(additive_coupling(MLP((5, 4, moved(mask))), mask), mask.shape, long=long)


def affine(mask: np.ndarray, bound: float | None = None, long: bool = False) -> Case:
    """An affine coupling on a mask, with a small perceptron."""
    conditioner = MLP((5, 4, 2 * moved(mask)), nn.tanh)
    return Case(affine_coupling(conditioner, mask, log_scale_bound=bound), mask.shape, long=long)


def moved(mask: np.ndarray) -> int:
    """The number of entries that a conditioner moves: those of the last axis, if the mask varies along it alone."""
    rows = mask.reshape(-1, mask.shape[-1])
    return int((~(rows[0] if (rows == rows[0]).all() else mask)).sum())


def entries(*kept: int, size: int) -> np.ndarray:
    """A mask of `size` entries that keeps these."""
    return np.isin(np.arange(size), kept)


CHECKERBOARD = np.indices((2, 3)).sum(0) % 2 == 0
CHANNELS = np.broadcast_to(np.arange(3) < 1, (2, 2, 3))

BIJECTORS: dict[str, Case] = {
    "scaling of one entry": Case(scaling(1), (1,)),
    "scaling": Case(scaling(5), (5,)),
    "coupling that keeps odd entries": coupling(entries(1, 3, 5, size=6), long=True),
    "coupling that keeps even entries of an odd number": coupling(entries(0, 2, 4, size=5), long=True),
    "coupling that keeps a prefix": coupling(entries(0, 1, size=5), long=True),
    "coupling that keeps a suffix": coupling(entries(3, 4, size=5), long=True),
    "coupling that keeps one entry": coupling(entries(2, size=5), long=True),
    "coupling that moves one entry": coupling(entries(0, 1, 3, 4, size=5), long=True),
    "coupling that keeps no pattern": coupling(entries(0, 1, 4, 6, size=7)),
    "coupling of two entries": coupling(entries(1, size=2), long=True),
    "coupling on a checkerboard": coupling(CHECKERBOARD, long=True),
    "coupling on channels": coupling(CHANNELS, long=True),
    "affine coupling that keeps a prefix": affine(entries(0, 1, size=5)),
    "affine coupling that keeps one entry": affine(entries(2, size=5), long=True),
    "affine coupling that moves one entry": affine(entries(0, 1, 3, 4, size=5), long=True),
    "affine coupling that keeps no pattern": affine(entries(0, 1, 4, 6, size=7), long=True),
    "affine coupling of two entries": affine(entries(1, size=2), long=True),
    "affine coupling on a checkerboard": affine(CHECKERBOARD),
    "affine coupling on channels": affine(CHANNELS),
    "affine coupling with a bound": affine(entries(0, 2, size=4), bound=1.5, long=True),
    "inverted affine coupling": Case(invert(affine(entries(0, 2, size=4)).bijector), (4,), long=True),
    "additive coupling with a context": Case(
        additive_coupling(MLP((4, 2)), entries(0, size=3), context_shape=(2,)), (3,), context_shape=(2,), long=True
    ),
    "affine coupling with a context": Case(
        affine_coupling(MLP((4, 4), nn.tanh), entries(0, size=3), context_shape=(2,)), (3,), context_shape=(2,)
    ),
    "masked affine coupling on a checkerboard": Case(
        affine_coupling(MLP((4, 2 * CHECKERBOARD.shape[-1]), nn.tanh), CHECKERBOARD, layout="masked"),
        CHECKERBOARD.shape,
    ),
    "chain of one": Case(chain(only=scaling(3)), (3,), long=True),
    "chain": Case(
        chain(
            first=coupling(entries(0, 2, size=4)).bijector,
            scaling=scaling(4),
            second=coupling(entries(1, 3, size=4)).bijector,
        ),
        (4,),
        long=True,
    ),
    "chain of chains": Case(
        chain(outer=chain(a=scaling(3), b=coupling(entries(0, size=3)).bijector), c=scaling(3)), (3,), long=True
    ),
    "nice": Case(nice(dim=6, width=7, depth=2, couplings=3).bijector, (6,)),
    "nice of an odd dimension": Case(nice(dim=5, width=4, depth=1, couplings=2).bijector, (5,), long=True),
    "real_nvp of vectors": Case(real_nvp((5,), couplings=3, width=4).bijector, (5,), long=True),
    "real_nvp of images": Case(
        real_nvp((2, 4, 1), couplings=1, width=3, depth=1).bijector, (2, 4, 1), (8,), (0.02, 0.98), long=True
    ),
    "glow": Case(
        glow((4, 2, 1), levels=1, steps=2, width=3, depth=1).bijector,
        (4, 2, 1),
        (8,),
        (0.02, 0.98),
        parameter_scale=0.3,
    ),
    "glow of conditional PLU couplings": Case(
        glow((4, 2, 1), levels=1, steps=2, width=3, depth=1, mixing="conditional_plu").bijector,
        (4, 2, 1),
        (8,),
        (0.02, 0.98),
        parameter_scale=0.3,
        long=True,
    ),
    **LINEAR,
    **MONOTONE,
}
