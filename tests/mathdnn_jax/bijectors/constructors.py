"""Every bijector of the library, in the shapes that its users meet: one table drives the shared tests."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mathdnn_jax import MLP, Bijector, additive_coupling, chain, nice, scaling


class Case(NamedTuple):
    """A map and the shape of its events."""

    bijector: Bijector
    event_shape: tuple[int, ...]


def coupling(mask: np.ndarray) -> Case:
    """An additive coupling on a mask, with a small perceptron."""
    moved = int((~mask).sum())
    return Case(additive_coupling(MLP((5, 4, moved)), mask), mask.shape)


def entries(*kept: int, size: int) -> np.ndarray:
    """A mask of `size` entries with these kept."""
    return np.isin(np.arange(size), kept)


CHECKERBOARD = np.indices((2, 3)).sum(0) % 2 == 0
CHANNELS = np.broadcast_to(np.arange(3) < 1, (2, 2, 3))

BIJECTORS: dict[str, Case] = {
    "scaling of one entry": Case(scaling(1), (1,)),
    "scaling": Case(scaling(5), (5,)),
    "coupling that keeps odd entries": coupling(entries(1, 3, 5, size=6)),
    "coupling that keeps even entries of an odd number": coupling(entries(0, 2, 4, size=5)),
    "coupling that keeps a prefix": coupling(entries(0, 1, size=5)),
    "coupling that keeps a suffix": coupling(entries(3, 4, size=5)),
    "coupling that keeps one entry": coupling(entries(2, size=5)),
    "coupling that moves one entry": coupling(entries(0, 1, 3, 4, size=5)),
    "coupling that keeps no pattern": coupling(entries(0, 1, 4, 6, size=7)),
    "coupling of two entries": coupling(entries(1, size=2)),
    "coupling on a checkerboard": coupling(CHECKERBOARD),
    "coupling on channels": coupling(CHANNELS),
    "chain of one": Case(chain(only=scaling(3)), (3,)),
    "chain": Case(
        chain(
            first=coupling(entries(0, 2, size=4)).bijector,
            scaling=scaling(4),
            second=coupling(entries(1, 3, size=4)).bijector,
        ),
        (4,),
    ),
    "chain of chains": Case(
        chain(outer=chain(a=scaling(3), b=coupling(entries(0, size=3)).bijector), c=scaling(3)), (3,)
    ),
    "nice": Case(nice(dim=6, width=7, depth=2, couplings=3).bijector, (6,)),
    "nice of an odd dimension": Case(nice(dim=5, width=4, depth=1, couplings=2).bijector, (5,)),
}
