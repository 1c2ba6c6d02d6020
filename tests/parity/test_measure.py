from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.certification.measure import Evidence, measure, merge, summary, ulp_distance, verdict, verdicts

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
