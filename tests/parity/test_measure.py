from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.certification.measure import Evidence, measure, merge, summary, ulp_distance
from parity.certification.verdict import verdict, verdicts

floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(x=floats, steps=st.integers(0, 50))
def test_ulp_distance_counts_the_steps_of_nextafter(x: float, steps: int) -> None:
    start = moved = np.float32(x)
    for _ in range(steps):
        moved = np.nextafter(moved, np.float32(np.inf))
    if np.isfinite(moved):
        assert int(ulp_distance(np.array(start), np.array(moved))) == steps
        assert int(ulp_distance(np.array(moved), np.array(start))) == steps


def test_zeros_of_either_sign_are_one_number() -> None:
    assert int(ulp_distance(np.array(-0.0), np.array(0.0))) == 0
    tiny = np.float32(1e-45)
    assert int(ulp_distance(np.array(-tiny), np.array(tiny))) == 2


def evidence(
    jax: float = 1e-7, torch: float = 1e-7, double: float = 0.0, shape: tuple[int, ...] = (100, 2)
) -> Evidence:
    """Evidence with planted errors of these sizes."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=shape)
    sign = rng.choice([-1, 1], size=shape)
    return measure(
        truth,
        (truth + torch * sign).astype(np.float64),
        (truth + jax * sign).astype(np.float64),
        truth + double,
        first_event=0,
    )


def test_errors_like_pytorchs_pass() -> None:
    assert verdict(evidence()) == ()
    assert verdict(evidence(jax=1.4e-7)) == ()
    assert verdict(evidence(jax=0.0)) == ()


def test_a_greater_rms_error_fails() -> None:
    assert "rms error" in verdict(evidence(jax=1.6e-7))[0]


def test_one_great_error_fails() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=1000)
    torch = truth + 1e-7 * rng.choice([-1, 1], 1000)
    jax = truth.copy()
    jax[17] += 5e-7
    (reason,) = verdict(measure(truth, torch, jax, truth, first_event=0))
    assert "greatest error" in reason


def test_a_mistake_hidden_by_rounding_shows_in_float64() -> None:
    (reason,) = verdict(evidence(double=1e-12))
    assert "in float64" in reason


def test_values_that_are_not_finite_fail() -> None:
    values = np.ones((2, 2))
    spoiled = values.copy()
    spoiled[1, 1] = np.nan
    for position in range(4):
        truth, torch, jax, double = (spoiled if k == position else values for k in range(4))
        assert verdict(measure(truth, torch, jax, double, first_event=0)) == ("1 values are NaN or infinite",)


def test_one_number_for_all_is_judged_in_float64_only() -> None:
    truth = np.full(8, 3.0)
    assert verdict(measure(truth, truth, truth + 1e-6, truth, first_event=0)) == ()
    assert verdict(measure(truth, truth, truth, truth + 1e-9, first_event=0))


def test_the_place_of_the_worst_is_that_of_the_event() -> None:
    truth = np.zeros((3, 2)) + 1.5
    jax = truth.copy()
    jax[2, 1] = 1.75
    found = summary(measure(truth, truth, jax, truth, first_event=40))["jax_to_torch_float32"]
    for kind, value in (("absolute", 0.25), ("relative", 1 / 7), ("ulp", 0.25 * 2**23)):
        assert found[kind]["index"] == [42, 1]
        assert found[kind]["greatest"] == pytest.approx(value)
        assert (found[kind]["jax"], found[kind]["torch"]) == (1.75, 1.5)


def test_batches_add_up() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(30, 3))
    torch, jax, double = (truth + 1e-6 * rng.normal(size=truth.shape) for _ in range(3))
    whole = measure(truth, torch, jax, double, 0)
    first = measure(truth[:10], torch[:10], jax[:10], double[:10], 0)
    rest = measure(truth[10:], torch[10:], jax[10:], double[10:], 10)
    for merged in (merge(first, rest), merge(rest, first)):
        for name in Evidence._fields:
            a, b = getattr(whole, name), getattr(merged, name)
            assert a == (b if isinstance(a, tuple) else pytest.approx(b, rel=1e-12))


def test_layers_of_different_shape_are_no_evidence() -> None:
    with pytest.raises(ValueError, match=r"JAX float32 has shape \(3, 2\)"):
        measure(np.zeros((2, 3)), np.zeros((2, 3)), np.zeros((3, 2)), np.zeros((2, 3)), 0)


def test_few_events_are_judged_in_float64_only() -> None:
    assert verdict(evidence(jax=1e-6, shape=(63, 2))) == ()
    assert len(verdict(evidence(jax=1e-6, shape=(64, 2)))) == 2
    assert verdict(evidence(double=1e-12, shape=(3, 2)))


def test_narrow_layers_and_those_after_them_get_one_ulp_more() -> None:
    # The values' root mean square is about one, so that one ulp is 1.2e-7.
    wide, narrow = (100, 64), (100, 63)
    assert verdicts({"a": evidence(jax=2e-7, shape=narrow), "b": evidence(jax=2e-7, shape=wide)}) == {"a": (), "b": ()}
    assert verdicts({"a": evidence(shape=wide), "b": evidence(jax=2e-7, shape=narrow)}) == {"a": (), "b": ()}
    found = verdicts({"b": evidence(jax=2e-7, shape=wide), "a": evidence(jax=3e-7, shape=narrow)})
    assert "exceeds 1.5 × PyTorch's 1e-07" in found["b"][0]
    assert "plus one ulp (1.19e-07)" in found["a"][0]
    assert "plus" not in found["b"][0]


def test_features_that_never_change_do_not_count() -> None:
    truth = np.random.default_rng(0).normal(size=(70, 3, 5))
    truth[..., 1] = 4.0
    assert measure(truth, truth, truth, truth, 0).features == 4
    # Events that are single numbers are no narrow layer.
    assert verdicts({"log_prob": measure(truth[:, 0, 0], truth[:, 0, 0], truth[:, 0, 0], truth[:, 0, 0], 0)}) == {
        "log_prob": ()
    }
    assert measure(truth[:, 0, 0], truth[:, 0, 0], truth[:, 0, 0], truth[:, 0, 0], 0).features == 64


def masked(wrong: float = 0.0, double: float = 0.0, events: int = 100, value: float = -1e9) -> Evidence:
    """Three columns of ordinary values with planted errors, and two of a mask's."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(events, 5))
    sign = rng.choice([-1, 1], size=truth.shape) * 1e-7
    torch, jax, jax64 = truth + sign, truth + sign + wrong, truth + double
    for array in (truth, torch, jax, jax64):
        array[:, [1, 3]] = value
    torch[:, [1, 3]] = jax[:, [1, 3]] = max(value, float(np.finfo(np.float32).min))
    return measure(truth, torch, jax, jax64, first_event=0)


@pytest.mark.parametrize("events", [10, 100])
@pytest.mark.parametrize("value", [-1e9, -1e12, float(np.finfo(np.float32).min), float(np.finfo(np.float64).min)])
def test_the_values_of_a_mask_hide_no_mistake(value: float, events: int) -> None:
    assert verdict(masked(events=events, value=value)) == ()
    assert "in float64" in verdict(masked(double=1e-12, events=events, value=value))[0]
    assert "100 × PyTorch's" in verdict(masked(wrong=1e-3, events=events, value=value))[-1]
    assert all(np.isfinite(masked(wrong=1.0, value=value)[4:6]))


def test_a_mask_may_have_most_of_the_values() -> None:
    truth = np.full((10, 50), -1e9)
    truth[:, :2] = np.random.default_rng(0).normal(size=(10, 2))
    wrong = truth.copy()
    wrong[:, 0] *= 1 + 1e-7
    assert "in float64" in verdict(measure(truth, truth.astype(np.float32), truth.astype(np.float32), wrong, 0))[0]


def test_another_value_of_a_mask_is_a_mistake() -> None:
    truth = np.random.default_rng(0).normal(size=(10, 5))
    truth[:, 1] = -1e9
    other = truth.copy()
    other[:, 1] = -2e9
    assert "in float64" in verdict(measure(truth, truth, other, other, 0))[0]


def test_values_far_below_the_others_are_judged_with_them_apart() -> None:
    truth = np.random.default_rng(0).normal(size=(100, 5)) * [1e8, 1, 1, 1, 1e-6]
    lost = truth * [1, 1, 1, 1, 0]
    rounded = truth.astype(np.float32)
    assert verdict(measure(truth, rounded, rounded, truth, 0)) == ()
    assert "in float64" in verdict(measure(truth, rounded, lost.astype(np.float32), lost, 0))[0]


def test_the_same_infinity_agrees_and_another_does_not() -> None:
    truth = np.random.default_rng(0).normal(size=(10, 5))
    truth[:, 2] = -np.inf
    assert verdict(measure(truth, truth, truth, truth, 0)) == ()
    other = np.where(truth == -np.inf, np.inf, truth)
    assert verdict(measure(truth, truth, truth, other, 0)) == ("10 values are NaN or infinite",)
    # If nothing is left, nothing was compared.
    nothing = np.full((3, 2), np.inf)
    assert verdict(measure(nothing, nothing, nothing, nothing, 0)) == ("6 values are NaN or infinite",)


def test_few_events_are_judged_coarsely() -> None:
    assert verdict(evidence(jax=9e-6, shape=(10, 5))) == ()
    assert "100 × PyTorch's 1e-07" in verdict(evidence(jax=2e-5, shape=(10, 5)))[0]
    # Of fewer than sixteen numbers one may be right by chance.
    lucky = np.array([[1.0, 2.0]])
    assert verdict(measure(lucky, lucky, lucky + 1e-3, lucky, 0)) == ()
    assert verdict(measure(lucky, lucky, lucky + 1e-2, lucky, 0))
    one = np.full(40, 3.0)
    assert verdict(measure(one, one, one + 1e-3, one, 0)) == ()
    assert verdict(measure(one, one, 0 * one, one, 0))


def test_a_few_ulps_of_float64_are_allowed_where_float32_is_exact() -> None:
    truth = np.arange(1.0, 101.0)
    assert verdict(measure(truth, truth, truth, truth + 4 * np.spacing(truth), 0)) == ()
    assert "in float64" in verdict(measure(truth, truth, truth, truth + 8 * np.spacing(100.0), 0))[0]


def test_whole_numbers_are_equal_or_not() -> None:
    whole = np.arange(10) * 2**54
    assert verdict(measure(whole, whole, whole, whole, 0)) == ()
    assert verdict(measure(whole, whole, whole, whole + 1, 0)) == ("in float64 10 whole numbers differ",)
    classes, ties = np.arange(40) % 4, np.arange(40) % 4
    ties[5] += 1
    assert verdict(measure(classes, classes, ties, classes, 0)) == ()
    assert "20 whole numbers differ" in verdict(measure(classes, classes, classes // 2 * 2, classes, 0))[0]
    flags = classes > 1
    assert "40 whole numbers differ" in verdict(measure(flags, flags, ~flags, flags, 0))[0]


def test_the_rest_adds_up() -> None:
    small, great = masked(double=3e-12), masked(wrong=1e-3)
    both = merge(small, great)
    assert both.rest.size == small.rest.size + great.rest.size
    assert both.rest.float64_max == small.rest.float64_max > 0
    assert both.rest.jax_max == great.rest.jax_max > small.rest.jax_max


def test_whole_numbers_add_up() -> None:
    right, wrong = np.arange(4), np.arange(4) + 1
    one, two = (measure(right, wrong, jax, jax, 0) for jax in (right, wrong))
    assert merge(one, two).whole == (4, 8, 4)
