"""The checker on plain functions: what it accepts, catches, reports, and leaves alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from mathdnn_jax import nice
from mathdnn_jax.bijectors import affine_coupling, scaling
from mathdnn_jax.errors import ConfigurationError, MathdnnError
from mathdnn_jax.nets import MLP
from mathdnn_jax.testing import BijectorCheckError, check_bijector

LINE = (-np.inf, np.inf)
Result = tuple[jax.Array, jax.Array]


def full(x: jax.Array, log_det: float) -> jax.Array:
    return jnp.full(x.shape[:-1], log_det, x.dtype)


def twice(x: jax.Array) -> Result:
    return 2 * x, full(x, x.shape[-1] * np.log(2))


def half(z: jax.Array) -> Result:
    return z / 2, full(z, -z.shape[-1] * np.log(2))


def test_plain_functions_pass() -> None:
    assert check_bijector(twice, half, event_shape=(3,), latent_support=LINE) is None  # type: ignore[func-returns-value]


def test_it_runs_under_standard_promotion_and_leaves_the_configuration_alone() -> None:
    with jax.numpy_dtype_promotion("standard"):
        before = jax.config.values.copy()
        check_bijector(twice, half, event_shape=(2,))
        with pytest.raises(BijectorCheckError):
            check_bijector(lambda x: (2 * x, full(x, 1.0)), event_shape=(2,))
        assert jax.config.values == before
    assert jnp.zeros(()).dtype == np.float32


@pytest.mark.parametrize("bijector", [scaling(1), scaling(3), nice(dim=3, width=4, depth=1, couplings=2).bijector])
def test_bijectors_of_the_library_pass(bijector: Any) -> None:
    shape = (len(bijector.init(jax.random.key(0)).get("log_scale", np.zeros(3))),)
    check_bijector(bijector.forward, bijector.inverse, params=bijector.init, event_shape=shape, latent_support=LINE)


def test_a_context_is_passed_on_and_drawn() -> None:
    coupling = affine_coupling(MLP((4, 4), jnp.tanh), np.asarray([True, False, False]), context_shape=(2,))
    check_bijector(
        coupling.forward, coupling.inverse, params=coupling.init, context=jnp.zeros(2), event_shape=(3,), examples=5
    )

    def ignores(x: jax.Array, context: jax.Array) -> Result:
        return x * jnp.exp(context), full(x, 0.0)

    with pytest.raises(BijectorCheckError) as caught:
        check_bijector(ignores, context=jnp.zeros(1), event_shape=(1,))
    assert "context = [" in str(caught.value)
    assert np.asarray(caught.value.context).shape == (1,)


def test_numbers_and_other_latent_shapes() -> None:
    check_bijector(
        lambda x: (jnp.exp(x), x), lambda z: (jnp.log(z), -jnp.log(z)), event_shape=(), latent_support=(0, np.inf)
    )

    def fold(x: jax.Array) -> Result:
        return x.reshape(*x.shape[:-1], 2, 2), full(x, 0.0)

    check_bijector(fold, event_shape=(4,), latent_shape=(2, 2))
    with pytest.raises(BijectorCheckError, match="value has shape") as caught:
        check_bijector(fold, event_shape=(4,))
    assert caught.value.check == "value_shape"


def test_parameters_are_drawn_from_a_strategy() -> None:
    def power(exponent: jax.Array, x: jax.Array) -> Result:
        return x**exponent, (jnp.log(exponent) + (exponent - 1) * jnp.log(x)).sum(-1)

    exponents = st.sampled_from([0.5, 1.0, 3.0]).map(np.float32)
    check_bijector(power, params=exponents, support=(0, np.inf), event_shape=(2,))

    def off_at_three(exponent: jax.Array, x: jax.Array) -> Result:
        value, log_det = power(exponent, x)
        return value, jnp.where(exponent > 2, 0, log_det)

    with pytest.raises(BijectorCheckError) as caught:
        check_bijector(off_at_three, params=exponents, support=(0, np.inf), event_shape=(2,))
    assert caught.value.params == 3.0


def test_functions_of_one_event() -> None:
    def one(x: jax.Array) -> Result:
        assert x.shape == (2,)
        return 3 * x, jnp.asarray(2 * np.log(3), x.dtype)

    check_bijector(one, event_shape=(2,), batched=False)
    with pytest.raises(BijectorCheckError, match="batched=False"):
        check_bijector(one, event_shape=(2,))


def test_a_kink_is_not_a_mistake_but_a_wrong_half_is() -> None:
    def leaky(x: jax.Array) -> Result:
        # At 0, autodiff uses the slope of the left half, and the log-det that of the right half.
        return jnp.where(x > 0, x, x / 4), jnp.where(x >= 0, 0, -np.log(4)).astype(x.dtype).sum(-1)

    check_bijector(leaky, event_shape=(2,))
    with pytest.raises(BijectorCheckError, match="log_det"):
        check_bijector(lambda x: (leaky(x)[0], full(x, 0.0)), event_shape=(2,))


def test_saturation_is_not_singularity() -> None:
    def squash(x: jax.Array) -> Result:
        x = 4 * x
        return jnp.tanh(x), 2 * (2 * np.log(2) - x - jax.nn.softplus(-2 * x)).sum(-1)

    check_bijector(squash, event_shape=(2,))
    with pytest.raises(BijectorCheckError, match="singular") as caught:
        check_bijector(lambda x: (jnp.tanh(x) * 0 + 1, full(x, 0.0)), event_shape=(2,))
    assert caught.value.check == "singular"


def test_float32_is_not_tried_where_rounding_leaves_the_support() -> None:
    def above(x: jax.Array) -> Result:
        return 3 * jnp.exp(x) - 2, (x + np.log(3)).sum(-1)

    def back(z: jax.Array) -> Result:
        # This rounds like a longer computation, in which a few roundings turn a number next to −2 into −2.
        near = z if z.dtype == np.float64 else jnp.round(z * 2.0**18) / 2.0**18
        x = jnp.log((near + 2) / 3)
        return x, -(x + np.log(3)).sum(-1)

    check_bijector(above, back, event_shape=(1,), support=(-17, -14), latent_support=(-2, np.inf))


def test_an_undecided_map_does_not_pass() -> None:
    def crushed(x: jax.Array) -> Result:
        # High precision would decide this, if it could follow a Fourier transform.
        return 1 + 1e-30 * jnp.fft.irfft(jnp.fft.rfft(x), 2), full(x, 2 * np.log(1e-30))

    with pytest.raises(BijectorCheckError) as caught:
        check_bijector(crushed, event_shape=(2,), float32=False)
    assert caught.value.check == "undecided"


def test_an_inverse_is_checked_against_its_own_jacobian() -> None:
    with pytest.raises(BijectorCheckError, match="sign is flipped") as caught:
        check_bijector(twice, lambda z: (z / 2, -half(z)[1]), event_shape=(2,))
    assert caught.value.direction == "inverse"
    with pytest.raises(BijectorCheckError, match=r"inverse\(forward\(x\)\) must equal x") as caught:
        check_bijector(twice, lambda z: (z / 2 + 1e-6, half(z)[1]), event_shape=(2,))
    assert caught.value.check == "round_trip"


def test_independent_latents_reach_where_events_do_not_lead() -> None:
    def forward(x: jax.Array) -> Result:
        return x, full(x, 0.0)

    def inverse(z: jax.Array) -> Result:
        return jnp.where(z > 2, z + 1, z), full(z, 0.0)

    check_bijector(forward, inverse, event_shape=(1,), support=(-1, 1))
    with pytest.raises(BijectorCheckError):
        check_bijector(forward, inverse, event_shape=(1,), support=(-1, 1), latent_support=LINE)


def test_the_reported_case_is_small_and_the_same_each_time() -> None:
    def off_for_large(x: jax.Array) -> Result:
        value, log_det = twice(x)
        return value, jnp.where(x.max(-1) > 5, log_det + 1, log_det)

    cases = []
    for _ in range(2):
        with pytest.raises(BijectorCheckError) as caught:
            check_bijector(off_for_large, event_shape=(3,))
        cases.append(np.asarray(caught.value.event))
    np.testing.assert_array_equal(cases[0], cases[1])
    # Cases have entries of 20 and more. Which one remains depends on the version of hypothesis.
    assert np.abs(cases[0]).max() == cases[0].max()
    assert 5 < cases[0].max() <= 8


def test_the_message_of_a_failure() -> None:
    with pytest.raises(BijectorCheckError) as caught:
        check_bijector(lambda x: (2 * x, full(x, np.log(2))), event_shape=(3,))
    said = str(caught.value)
    assert "log_det        0.6931471806" in said
    assert "log|det J|     2.079441542" in said
    assert "the factor 3 is missing" in said
    assert "x = [0., 0., 0.]" in said
    assert "    + · ·\n    · + ·\n    · · +\n" in said
    assert "    output 1 by input 1: 0.693147 (sign +)\n" in said
    assert isinstance(caught.value, AssertionError)
    assert isinstance(caught.value, MathdnnError)


@settings(max_examples=2, suppress_health_check=[HealthCheck.nested_given])
@given(st.integers(1, 2))
def test_it_may_be_called_inside_a_property(size: int) -> None:
    check_bijector(twice, half, event_shape=(size,), examples=2)


SCALES = np.array([2.0, 0.5, 4.0])


@pytest.mark.parametrize(("used_before", "compiled"), [(None, False), (np.float32, True)])
def test_maps_may_close_over_numpy_arrays(used_before: Any, compiled: bool) -> None:
    scales = SCALES.copy()

    def scale(x: jax.Array) -> Result:
        return x * scales, jnp.broadcast_to(jnp.log(jnp.asarray(scales, x.dtype)).sum(), x.shape[:-1])

    forward = jax.jit(scale) if compiled else scale
    if used_before is not None:
        with jax.enable_x64(used_before is np.float64):
            jax.jit(forward)(np.ones(3, used_before))
    check_bijector(forward, event_shape=(3,), examples=1, gradients=False)
    # In the caller's precision, the map is as usable afterwards as it was before.
    assert jax.jit(forward)(np.ones(3, np.float32))[0].dtype == np.float32


def test_nothing_is_written_and_no_warning_given(tmp_path: Path) -> None:
    code = (
        "import jax.numpy as jnp, warnings; warnings.simplefilter('error')\n"
        "from mathdnn_jax.testing import check_bijector\n"
        "matrix = jnp.array([[2.0, 1.0], [0.0, -0.5]])\n"
        "check_bijector(lambda x: (x @ matrix.T, jnp.full(x.shape[:-1], 0.0)), event_shape=(2,))\n"
    )
    environment = {**os.environ, "JAX_ENABLE_X64": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_functions_that_raise_are_named() -> None:
    def raises(x: jax.Array) -> Result:
        raise ValueError("no such thing")

    with pytest.raises(BijectorCheckError, match=r"\(value, log_det\), but raises ValueError: no such thing"):
        check_bijector(raises, event_shape=(2,))


@pytest.mark.parametrize(
    "options",
    [
        {"event_shape": (0,)},
        {"event_shape": (2,), "latent_shape": (3,)},
        {"event_shape": (2,), "examples": 0},
        {"event_shape": (2,), "tolerance": 0.0},
        {"event_shape": (2,), "support": (1, 0)},
        {"event_shape": (2,), "support": 3},
        {"event_shape": (2,), "latent_support": (np.zeros(3), np.ones(3))},
    ],
)
def test_arguments_that_do_not_describe_a_check(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        check_bijector(twice, half, **options)
