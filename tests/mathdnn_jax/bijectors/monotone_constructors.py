"""Maps made of increasing functions of one variable: rows of the table of the shared tests."""

from __future__ import annotations

import flax.linen as nn
import numpy as np

from mathdnn_jax import chain, invert
from mathdnn_jax.bijectors import logit, mixture_cdf, rational_quadratic_coupling
from mathdnn_jax.bijectors.index_set import index_sets
from mathdnn_jax.nets import MLP

from .case import Case

COURSE_FORM_SCALE = 0.3
"""The map as in the course reaches ±W/2 in floats, where it has no inverse, once x is eight σ from every mean."""


def splines(mask: np.ndarray, bins: int = 4, bound: float = 1.5, long: bool = False) -> Case:
    """A spline coupling on a mask, with a small perceptron."""
    rows = mask.reshape(-1, mask.shape[-1])
    _, moved = index_sets(rows[0] if (rows == rows[0]).all() else mask)
    conditioner = MLP((6, (3 * bins - 1) * len(moved.indices)), nn.tanh)
    bijector = rational_quadratic_coupling(conditioner, mask, bins=bins, bound=bound)
    # Larger logits make bins so narrow that float32 cannot tell their slopes apart.
    return Case(bijector, mask.shape, parameter_scale=0.5, long=long)


CHECKERBOARD = np.indices((2, 3)).sum(0) % 2 == 0

MONOTONE: dict[str, Case] = {
    "mixture of distribution functions": Case(mixture_cdf(5), (), parameter_scale=COURSE_FORM_SCALE),
    "normalised mixture": Case(mixture_cdf(5, normalised=True), (), long=True),
    "normalised mixture of one component": Case(mixture_cdf(1, normalised=True), (), long=True),
    "inverted normalised mixture": Case(invert(mixture_cdf(3, normalised=True)), (), parameter_scale=0.5, long=True),
    "chain around a normalised mixture": Case(
        chain(logit=logit(()), mixture=mixture_cdf(2, normalised=True)), (), support=(0.0, 1.0), long=True
    ),
    "spline coupling that keeps a prefix": splines(np.arange(5) < 2, long=True),
    "spline coupling that keeps no pattern": splines(np.isin(np.arange(7), [0, 1, 4, 6]), long=True),
    "spline coupling of two entries": splines(np.array([True, False]), bins=8, bound=3.0, long=True),
    "spline coupling of one bin": splines(np.array([True, False]), bins=1, long=True),
    "spline coupling on a checkerboard": splines(CHECKERBOARD),
    "spline coupling on channels": splines(np.broadcast_to(np.arange(3) < 1, (2, 2, 3)), long=True),
    "masked spline coupling on a checkerboard": Case(
        rational_quadratic_coupling(MLP((4, 11 * 3), nn.tanh), CHECKERBOARD, bins=4, bound=1.5, layout="masked"),
        CHECKERBOARD.shape,
        long=True,
    ),
    "spline coupling with a context": Case(
        rational_quadratic_coupling(MLP((4, 22), nn.tanh), np.arange(3) < 1, bins=4, bound=1.5, context_shape=(2,)),
        (3,),
        context_shape=(2,),
        long=True,
    ),
    "logit": Case(logit((3,)), (3,), support=(0.0, 1.0)),
    "logit of an image on the open interval": Case(logit((2, 2, 1), alpha=0.0), (2, 2, 1), support=(0.0, 1.0)),
    "logit of one number": Case(logit((), alpha=0.01), (), support=(0.0, 1.0), long=True),
    "inverted logit": Case(invert(logit((3,))), (3,), long=True),
}
