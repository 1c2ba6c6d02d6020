"""The Kullback–Leibler divergence of two distributions given by their values."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import rel_entr
from jax.typing import ArrayLike

from mathdnn_jax.errors import DomainError
from mathdnn_jax.probability.checks import check_densities, concrete


def kl_divergence(
    p: ArrayLike, q: ArrayLike, cell_volume: ArrayLike | None = None, axis: int | tuple[int, ...] = -1
) -> jax.Array:
    """KL(p ‖ q) = Σ_i p_i log(p_i / q_i) v_i, in nats: 0 log 0 = 0, and infinite where q_i = 0 < p_i.

    Without `cell_volume`, p and q are probabilities, each summing to 1 over `axis` (v = 1). With it, they are
    densities on a grid and v_i the volumes of its cells (or the weights of a quadrature; one number if all are the
    same): the error is that of the quadrature, and sums are not checked. Shapes are broadcast; `axis` is summed.

    For independent coordinates the KL of the products is the sum of the coordinates' KL.

    Raises:
        DomainError: concrete values that are NaN, infinite or negative; concrete probabilities that do not sum to 1
            within √ε. Traced values are not checked; a NaN among them gives NaN.

    Source: seeds 001 P5, 002 P4.
    """
    p, q = jnp.asarray(p), jnp.asarray(q)
    check_densities(p=p, q=q)
    if cell_volume is None:
        _check_sums(axis, p=p, q=q)
    else:
        check_densities(cell_volume=cell_volume)
    # rel_entr takes NaN for a value outside its domain and returns infinity.
    terms = jnp.where(jnp.isnan(p) | jnp.isnan(q), jnp.nan, rel_entr(p, q))
    if cell_volume is None:
        return terms.sum(axis)
    volume = jnp.asarray(cell_volume)
    return jnp.where(volume == 0, 0, terms * volume).sum(axis)


def _check_sums(axis: int | tuple[int, ...], **named: jax.Array) -> None:
    for name, x in named.items():
        values = concrete(x)
        if values is None:
            continue
        sums = values.sum(axis)
        if np.abs(sums - 1).max() > np.sqrt(jnp.finfo(x.dtype).eps):
            worst = sums.ravel()[np.abs(sums - 1).argmax()]
            raise DomainError(
                f"probabilities sum to 1 over axis {axis}; {name} sums to {worst:.9g} "
                "(for densities on a grid, give cell_volume)"
            )
