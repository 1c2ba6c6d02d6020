"""Every map of the table in high precision: log_det is log|det J|, and the inverse inverts, up to rounded constants."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from mathdnn_jax.testing.high_precision.numbers import nearest
from mathdnn_jax.testing.high_precision.point import Point
from mathdnn_jax.testing.programs import Direction, direction
from mathdnn_jax.testing.support import box

from .case import Case
from .constructors import BIJECTORS
from .test_bijectors import random_context, random_events, random_params

ITERATES = {
    "mixture of distribution functions",
    "normalised mixture",
    "normalised mixture of one component",
    "inverted normalised mixture",
    "chain around a normalised mixture",
}
"""Maps whose inverses are found by bisection on the bits of float64 numbers."""


def directions(case: Case) -> tuple[Direction, Direction]:
    shared: Any = {"with_params": True, "batched": True, "gradients": False}
    x, z = box(case.support, case.event_shape, "support"), box(None, case.z_shape, "latent_support")
    return (
        direction("forward", case.bijector.forward, case.event_shape, case.z_shape, x, **shared),
        direction("inverse", case.bijector.inverse, case.z_shape, case.event_shape, z, **shared),
    )


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.long if case.long else ()) for name, case in BIJECTORS.items()],
)
def test_log_det_and_jacobian_agree_and_the_inverse_returns(name: str) -> None:
    case = BIJECTORS[name]
    with jax.enable_x64(True):
        params = jax.tree.map(np.asarray, random_params(case.bijector, 1, case.parameter_scale))
        x, context = np.asarray(random_events(case, 1)), random_context(case, 1)
        forward, inverse = directions(case)
        there, back = Point(forward, params, context, x), Point(inverse, params, context, x, forward)
        iterates = rounded = False
        for point in (there, back):
            computed = point.derived.computed
            assert abs(computed.log_det - point.derived.log_abs_det) < 1e-14
            iterates |= computed.approximate
            rounded |= computed.uncertain
        assert iterates == (name in ITERATES)
        assert np.abs(nearest(back.value.value - x.reshape(-1))).max(initial=0) < (
            1e-14 if iterates or rounded else 1e-45
        )


@pytest.mark.long
@pytest.mark.parametrize("name", BIJECTORS)
def test_the_jacobian_is_that_of_float64(name: str) -> None:
    case = BIJECTORS[name]
    with jax.enable_x64(True):
        params, x = random_params(case.bijector, 2, case.parameter_scale), random_events(case, 2)
        context = random_context(case, 2)
        z, _ = case.bijector.forward(params, x, context)
        for one, event in zip(directions(case), (x, z), strict=True):
            found = Point(one, params, context, np.asarray(event)).differentiate(60)
            value, log_det, jacobian = one.derived(params, context, event)
            exact = (found.computed.value, np.asarray([found.computed.log_det], object), found.jacobian)
            for ours, theirs in zip(exact, (value, log_det, jacobian), strict=True):
                np.testing.assert_allclose(nearest(ours).ravel(), np.ravel(theirs), rtol=1e-10, atol=1e-10)
