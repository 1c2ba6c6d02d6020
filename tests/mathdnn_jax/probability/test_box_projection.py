"""That optax's projection onto a box is the course's, including fixed coordinates (course 003, P2)."""

from __future__ import annotations

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from optax import projections

numbers = st.floats(-10, 10, allow_subnormal=False)


def project(y: list[float], lower: list[float], upper: list[float]) -> list[float]:
    with jax.enable_x64(True):
        projected: list[float] = projections.projection_box(jnp.array(y), jnp.array(lower), jnp.array(upper)).tolist()
    return projected


@given(a=numbers, y=st.tuples(numbers, numbers))
def test_the_statement_of_the_course(a: float, y: tuple[float, float]) -> None:
    # C = {x : x_1 = a, 0 ≤ x_2 ≤ 1}.
    assert project(list(y), [a, 0.0], [a, 1.0]) == [a, min(max(y[1], 0.0), 1.0)]


@given(
    sides=st.lists(st.tuples(numbers, st.one_of(st.just(0.0), st.floats(0, 5))), min_size=3, max_size=3),
    y=st.lists(numbers, min_size=3, max_size=3),
    data=st.data(),
)
def test_no_point_of_the_box_is_nearer(sides: list[tuple[float, float]], y: list[float], data: st.DataObject) -> None:
    # A side of length 0 is a fixed coordinate.
    lower, upper = [low for low, _ in sides], [low + length for low, length in sides]
    nearest = np.array(project(y, lower, upper))
    assert (np.array(lower) <= nearest).all()
    assert (nearest <= np.array(upper)).all()
    other = np.array([data.draw(st.floats(low, high)) for low, high in zip(lower, upper, strict=True)])
    distance = float(np.linalg.norm(nearest - y))
    assert distance <= float(np.linalg.norm(other - y)) * (1 + 1e-15)
    # Obtuse angle: (y − Πy)·(x − Πy) ≤ 0 for every x of the convex set, which makes Πy the nearest point.
    assert (np.array(y) - nearest) @ (other - nearest) <= 1e-13
    assert project(nearest.tolist(), lower, upper) == nearest.tolist()
