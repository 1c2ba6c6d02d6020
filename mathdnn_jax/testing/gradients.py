"""The gradients of value and log_det by value: autodiff beside central differences.

A gradient g is compared along random tangents t: Σ_j g_j t_j beside half the difference of the function's values ahead
and behind. The two may differ by a thousandth of Σ_j |g_j t_j|, by the second difference, because a kink is not a
mistake, and by the rounding of the values.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

TOLERANCE = 1e-3


class Pulled(NamedTuple):
    """The gradient of one function: with respect to each leaf of parameters and context, and to the event, flat."""

    leaves: list[np.ndarray]
    x: np.ndarray


class Slopes(NamedTuple):
    """Gradients by reverse mode, and values at points where leaves and event are moved together, first all ahead.

    - `value` and `log_det`: the gradients of Σ_i w_i z_i, with the numbers of `weights`, and of log_det;
    - `leaves` and `turns`: the leaves of parameters and context, and by how much they are moved (tangents, size);
    - `moved_value` (2 tangents, size) and `moved_log_det` (2 tangents,). The event is moved by the analysis's tangents.
    """

    value: Pulled
    log_det: Pulled
    leaves: list[np.ndarray]
    turns: list[np.ndarray]
    moved_value: np.ndarray
    moved_log_det: np.ndarray


class Comparison(NamedTuple):
    """A gradient along one tangent, beside the difference of values.

    - `what`: the derivative by its name, and `of` the function, "value" or "log_det";
    - `tangent` and `joint`: the index of the tangent, and whether parameters and context are moved too;
    - `along`: Σ_j g_j t_j, and `difference`: (f(ahead) − f(behind)) / 2;
    - `scale`: Σ_j |g_j t_j|, `bend`: the second difference, and `rounding`: that of the values.
    """

    what: str
    of: str
    tangent: int
    joint: bool
    along: float
    difference: float
    scale: float
    bend: float
    rounding: float

    @property
    def allowed(self) -> float:
        """How far the two numbers may differ."""
        return TOLERANCE * self.scale + self.bend + self.rounding

    @property
    def is_wrong(self) -> bool:
        """Whether the two numbers differ by more than is allowed; NaN and infinity are not wrong, but undecided."""
        return bool(abs(self.along - self.difference) > self.allowed)


def weights(shape: tuple[int, ...]) -> jax.Array:
    """Return the weights w of the entries of a value, all different, so that mistakes do not cancel in the sum."""
    return jnp.asarray(np.random.default_rng(3).uniform(0.5, 1.5, shape))


def compared(
    name: tuple[str, str, int, bool], gradient: np.ndarray, tangent: np.ndarray, sides: Any, rounding: float
) -> Comparison:
    """Compare one gradient along one tangent. `name` has the first four entries of the comparison, `sides` the values.

    The values are those (ahead, here, behind).
    """
    ahead, here, behind = (float(side) for side in sides)
    terms = gradient * tangent
    bend = abs(ahead - 2 * here + behind)
    return Comparison(
        *name, float(terms.sum()), (ahead - behind) / 2, float(np.abs(terms).sum()), bend, float(rounding)
    )
