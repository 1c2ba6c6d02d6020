"""The Kullback–Leibler divergence between two distributions given by their values."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import rel_entr
from jax.typing import ArrayLike

from mathdnn_jax.errors import DomainError
from mathdnn_jax.probability.checks import check_densities, concrete_values


def kl_divergence(
    p: ArrayLike, q: ArrayLike, cell_volume: ArrayLike | None = None, axis: int | tuple[int, ...] = -1
) -> jax.Array:
    """KL(p ‖ q) = Σ_i p_i log(p_i / q_i) v_i, in nats, with 0 log 0 = 0; infinite if q_i = 0 < p_i for some i.

    Without `cell_volume`, p and q are probabilities that sum to 1 over `axis` (v = 1). With it, they are densities on a
    grid, and v_i are the volumes of its cells or the weights of a quadrature (one number if all are equal); the error
    is that of the quadrature, and sums are not checked. Shapes are broadcast, and `axis` is summed over.

    For independent coordinates, the KL of the products is the sum of the coordinates' KL.

    Raises:
        DomainError: Concrete values are NaN, infinite or negative, or concrete probabilities do not sum to 1 within √ε.
            Traced values are not checked; a NaN among them gives NaN.

    Source: course 001, P5; course 002, P4.

    Example:
        >>> import jax.numpy as jnp, mathdnn_jax as mj
        >>> p, q = jnp.array([0.5, 0.5, 0.0]), jnp.array([0.25, 0.5, 0.25])
        >>> round(float(mj.probability.kl_divergence(p, q)), 4)  # ½ log 2
        0.3466
        >>> float(mj.probability.kl_divergence(q, p))
        inf
    """
    p, q = jnp.asarray(p), jnp.asarray(q)
    check_densities(p=p, q=q)
    if cell_volume is None:
        _check_sums(axis, p=p, q=q)
    else:
        check_densities(cell_volume=cell_volume)
    # rel_entr treats NaN as a value outside its domain and returns infinity.
    terms = jnp.where(jnp.isnan(p) | jnp.isnan(q), jnp.nan, rel_entr(p, q))
    if cell_volume is None:
        return terms.sum(axis)
    volume = jnp.asarray(cell_volume)
    return jnp.where(volume == 0, 0, terms * volume).sum(axis)


def _check_sums(axis: int | tuple[int, ...], **named: jax.Array) -> None:
    for name, x in named.items():
        values = concrete_values(x)
        if values is None:
            continue
        sums = values.sum(axis)
        if np.abs(sums - 1).max() > np.sqrt(jnp.finfo(x.dtype).eps):
            worst = sums.ravel()[np.abs(sums - 1).argmax()]
            raise DomainError(
                f"probabilities must sum to 1 over axis {axis}, but {name} sums to {worst:.9g} "
                "(for densities on a grid, pass cell_volume)"
            )
