"""Each bound of the checker lies where `condition` says: a map that is wrong within it passes, one beyond it does not.

The map is z = 2 x of one number. Its bounds are tightest at x = 0, which is the first event that is tried.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathdnn_jax.testing import BijectorCheckError, check_bijector
from mathdnn_jax.testing.programs import BATCH_SHAPES, STEP

LOG_2 = float(np.log(2))
Result = tuple[jax.Array, jax.Array]
Maps = tuple[Callable[[jax.Array], Result], Callable[[jax.Array], Result]]


def twice(x: jax.Array) -> Result:
    return 2 * x, jnp.full(x.shape[:-1], LOG_2, x.dtype)


def half(z: jax.Array) -> Result:
    return z / 2, jnp.full(z.shape[:-1], -LOG_2, z.dtype)


def log_det(off: float) -> Maps:
    return lambda x: (twice(x)[0], twice(x)[1] + off), half


def log_det_of_the_inverse(off: float) -> Maps:
    return twice, lambda z: (half(z)[0], half(z)[1] + off)


def round_trip(off: float) -> Maps:
    return twice, lambda z: (half(z)[0] + off, half(z)[1])


@jax.custom_jvp
def steeper(x: jax.Array, factor: jax.Array) -> jax.Array:
    return 2 * x


@steeper.defjvp
def _(primals: Any, tangents: Any) -> Any:
    return steeper(*primals), 2 * primals[1] * tangents[0]


def derivative(off: float) -> Maps:
    """The log_det is that of the wrong derivative, which nothing but differences of the values can tell."""
    return lambda x: (steeper(x, jnp.asarray(1 + off, x.dtype)), twice(x)[1] + np.log1p(off)), half


def in_float32(off: float) -> Maps:
    return lambda x: (twice(x)[0] + (off if x.dtype == np.float32 else 0), twice(x)[1]), half


def without_jit(off: float) -> Maps:
    def forward(x: jax.Array) -> Result:
        value, log_det = twice(x)
        return value + (0 if isinstance(x, jax.core.Tracer) else off), log_det

    return forward, half


KAPPA = 1 + LOG_2 + 1
"""1 + |log_det| + |J⁻¹| |J| at x = 0."""
H = STEP

BOUNDS = [
    # the maps, an error within the bound and one beyond it, the check that fails
    (log_det, 0.98e-9 * KAPPA, 1.02e-9 * KAPPA, "log_det"),
    (log_det, -0.98e-9 * KAPPA, -1.02e-9 * KAPPA, "log_det"),
    (log_det_of_the_inverse, 0.98e-9 * KAPPA, 1.02e-9 * KAPPA, "log_det"),
    (round_trip, 0.98e-9, 1.02e-9, "round_trip"),
    (derivative, 0.98e-3, 1.02e-3, "derivative"),
    # Twice the step of x moves z, so four moves change z by 8 h, to which h is added, and as much for the arithmetic.
    (in_float32, 8.9 * H, 20 * H, "float32"),
    # κ_x is 2 at x = 0.
    (without_jit, 2.9e-9, 3.1e-9, "jit"),
]


@pytest.mark.parametrize(("maps", "within", "beyond", "check"), BOUNDS)
def test_a_mistake_is_found_just_beyond_the_bound(
    maps: Callable[[float], Maps], within: float, beyond: float, check: str
) -> None:
    options: dict[str, Any] = {"event_shape": (1,), "examples": 1, "gradients": False, "float32": check == "float32"}
    check_bijector(*maps(within), **options)
    with pytest.raises(BijectorCheckError) as caught:
        check_bijector(*maps(beyond), **options)
    assert caught.value.check == check


ROWS = [(shape, k) for shape in BATCH_SHAPES for k in range(int(np.prod(shape)))]


@pytest.mark.parametrize(("shape", "row"), ROWS)
@pytest.mark.parametrize("of", ["value", "log_det"])
def test_every_row_of_every_batch_is_compared(shape: tuple[int, ...], row: int, of: str) -> None:
    def forward(x: jax.Array) -> Result:
        value, log_det = twice(x)
        if x.shape[:-1] == shape:
            off = jnp.zeros(int(np.prod(shape)), x.dtype).at[row].set(1e-6).reshape(shape)
            value, log_det = (value + off[..., None], log_det) if of == "value" else (value, log_det + off)
        return value, log_det

    with pytest.raises(BijectorCheckError) as caught:
        check_bijector(forward, event_shape=(1,), examples=1, gradients=False, float32=False)
    assert caught.value.check == "batch"
    said = str(caught.value)
    if row:
        index = tuple(int(i) for i in np.unravel_index(row, shape))
        assert any(line.split("index in the batch")[-1].strip() == str(index) for line in said.splitlines())
