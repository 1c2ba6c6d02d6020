"""A coupling that transforms the moved entries by a monotone spline."""

from __future__ import annotations

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from mathdnn_jax.bijectors.bijector import Bijector, Params
from mathdnn_jax.bijectors.coupling_network import ConditionerInput, coupling_network
from mathdnn_jax.bijectors.index_set import pick, put
from mathdnn_jax.bijectors.rational_quadratic import Spline, spline, spline_forward, spline_inverse
from mathdnn_jax.errors import ConfigurationError


def rational_quadratic_coupling(
    conditioner: nn.Module,
    mask: ArrayLike,
    *,
    bins: int = 8,
    bound: float = 3.0,
    minimum_bin: float = 1e-3,
    minimum_slope: float = 1e-3,
    layout: ConditionerInput = "kept",
    context_shape: tuple[int, ...] | None = None,
) -> Bijector:
    """z_Ω = x_Ω,  z_Ωᶜ = r(x_Ωᶜ; θ(x_Ω)) entry by entry,  log|det ∂z/∂x| = Σ_i log r′(x_i; θ_i).

    r is increasing. On [−B, B] it is a spline of `bins` rational quadratic pieces with continuous slope; outside it is
    the identity, which the spline joins with slope 1 at ±B. The inverse has a closed form. If the network returns
    zeros, the map is the identity.

    Args:
        conditioner: θ, any Flax module without mutable state. It maps the kept entries, as in `additive_coupling`, to
            3·bins − 1 unconstrained numbers for each moved entry: `bins` for the widths, `bins` for the heights, and
            bins − 1 for the slopes at the knots between the pieces. They come either as one array whose last axis
            holds the first number of every moved entry, then the second of every moved entry, and so on; or as a tuple
            of 3·bins − 1 arrays.
        mask: boolean, of the event's shape; true on Ω, the entries that stay as they are; any proper non-empty subset.
        bins: the number of pieces.
        bound: B > 0, half the width of the box.
        minimum_bin: the least width and height of a piece, relative to the size of the box; bins · minimum_bin < 1.
        minimum_slope: the least slope at a knot, in (0, 1).
        layout: "masked" for networks on whole events, as in `additive_coupling`.
        context_shape: the shape of one event's context, if the map has one.

    Returns:
        The bijector. Its parameters are the conditioner's own "params" collection, whose dtype x and z share.

    Raises:
        ConfigurationError: Ω is not a proper non-empty subset, bins < 1, or bound, minimum_bin or minimum_slope is out
            of the bounds above; or (in `init` and when applied) the conditioner keeps state besides its parameters or
            returns a wrong shape, or the context is missing.
        EventShapeError: (when applied) the trailing axes of x differ from the mask's shape.

    Example:
        >>> import jax, jax.numpy as jnp, mathdnn_jax as mj
        >>> mask = jnp.array([True, False])
        >>> coupling = mj.bijectors.rational_quadratic_coupling(mj.nets.MLP((8, 3 * 4 - 1)), mask, bins=4)
        >>> params = coupling.init(jax.random.key(0))
        >>> z, log_det = coupling.forward(params, jnp.array([[0.5, 0.5], [0.5, 9.0]]))
        >>> z.shape, float(z[1, 1]), float(log_det[1])
        ((2, 2), 9.0, 0.0)

    Source: Durkan, Bekasov, Murray, Papamakarios, "Neural Spline Flows", 2019; Gregory and Delbourgo, "Piecewise
    rational quadratic interpolation to monotonic data", 1982.
    """
    _check(bins, bound, minimum_bin, minimum_slope)
    network = coupling_network(conditioner, mask, 3 * bins - 1, "rational_quadratic_coupling", layout, context_shape)
    is_moved = np.zeros(network.moved.size, np.bool_)
    is_moved[network.moved.indices] = True

    def apply(
        direction: Callable[[Spline, jax.Array, float], tuple[jax.Array, jax.Array]],
        params: Params,
        x: jax.Array,
        context: jax.Array | None,
    ) -> tuple[jax.Array, jax.Array]:
        shape, viewed = network.view(x, context)
        unconstrained = jnp.stack(network.values(params, viewed, context), axis=-1)
        knots = spline(unconstrained, bound, minimum_bin, minimum_slope)
        values, log_slopes = direction(knots, pick(viewed, network.moved), bound)
        z = jnp.where(is_moved, put(values, network.moved), viewed)
        return z.reshape(shape), log_slopes.sum(network.axes)

    def forward(params: Params, x: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        return apply(spline_forward, params, x, context)

    def inverse(params: Params, z: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        return apply(spline_inverse, params, z, context)

    return Bijector(network.init, forward, inverse, jnp.ndim(mask))


def _check(bins: int, bound: float, minimum_bin: float, minimum_slope: float) -> None:
    wrong = []
    if bins < 1:
        wrong.append(f"bins={bins} (at least 1)")
    if not 0 < bound < float("inf"):
        wrong.append(f"bound={bound} (a positive number)")
    if not 0 < minimum_bin * max(bins, 1) < 1:
        wrong.append(f"minimum_bin={minimum_bin} (positive, less than 1 / bins)")
    if not 0 < minimum_slope < 1:
        wrong.append(f"minimum_slope={minimum_slope} (between 0 and 1)")
    if wrong:
        raise ConfigurationError(f"rational_quadratic_coupling cannot be built with {', '.join(wrong)}")
