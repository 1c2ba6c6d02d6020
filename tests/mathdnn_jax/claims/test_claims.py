"""Decides every claim of the registry; a counterexample must be found for each refuted one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from mathdnn_jax.claims import CLAIMS, Claim, find_claims, run_claim
from mathdnn_jax.claims.chance import BOUND, FOUND, MOST_STATISTICS, REACH, check_unbiased, effect_of
from mathdnn_jax.claims.evidence import check_equal
from mathdnn_jax.claims.sign_bias import GELU_DEPTH, fall_and_rise
from mathdnn_jax.claims.sine_mistakes import bias_of_the_order
from mathdnn_jax.errors import ConfigurationError

FEW, MANY = 5, 25

# Claims that compile a program for nearly every example.
COMPILED = {
    *("C2.stacks", "C3.homogeneous", "C3.leaky_relu", "C4.strides", "C5.formula", "C7.law"),
    *("F2.log_det", "F3.log_det", "F6.reshape", "F10.derivative", "F10.inverse", "F11.density"),
}


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
@pytest.mark.parametrize("examples", [FEW, pytest.param(MANY, marks=pytest.mark.long)])
def test_the_verdict_is_as_stated(claim: Claim, examples: int) -> None:
    outcome = run_claim(claim, examples=3 if examples == FEW and claim.id in COMPILED else examples)
    assert outcome.passed, f"{claim.statement}\nfound: {outcome.found} by {outcome.counterexample}\n{outcome.message}"


def test_ids_are_unique_and_every_claim_is_described() -> None:
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)
    assert {claim.id for claim in CLAIMS} >= COMPILED
    for claim in CLAIMS:
        assert "." in claim.id, claim.id
        assert claim.statement, claim.id
        assert claim.source, claim.id
        assert claim.property.__doc__, claim.id


def test_the_errata_are_refuted() -> None:
    # Ids of errata belong to mistakes, so that a statement under one cannot hold.
    assert all(claim.verdict == "refuted" for claim in CLAIMS if claim.id.startswith("E"))


def test_claims_are_found_by_their_ids_and_by_their_system() -> None:
    assert [claim.id for claim in find_claims(["F3.log_det"])] == ["F3.log_det"]
    assert [claim.id for claim in find_claims(["F3"])] == ["F3.log_det", "F3.blocks", "F3.inverse"]
    assert [claim.id for claim in find_claims(["F3.inverse", "F2"])] == ["F2.log_det", "F2.inverse", "F3.inverse"]


@pytest.mark.parametrize("wanted", ["F", "F3.", "nothing", "F3.log"])
def test_an_unknown_id_is_refused(wanted: str) -> None:
    with pytest.raises(ConfigurationError, match="no claim has the id"):
        find_claims([wanted])


@pytest.mark.parametrize(
    ("wanted", "smallest"),
    [("E2.accumulating", {"steps": "2", "seed": "0"}), ("E7.indicator", {"x": "[0, 0]"})],
)
def test_the_counterexample_is_the_smallest_one(wanted: str, smallest: dict[str, str]) -> None:
    # The course's loop departs from projected ascent at its second step, and the limit is not an indicator if two tie.
    assert run_claim(find_claims([wanted])[0]).counterexample == smallest


def test_a_mean_passes_only_within_the_bound() -> None:
    check_unbiased("within", [0.0, 1.0], [1.0, 0.1], [6.4, 1.6])
    for wrong in (6.6, -6.6, np.nan):
        with pytest.raises(AssertionError, match="expected"):
            check_unbiased("beyond", [0.0, 0.0], 1.0, [0.0, wrong])
    with pytest.raises(AssertionError, match="standard errors away"):
        check_unbiased("without an error", 1.0, 0.0, 1.0 + 1e-9)
    with pytest.raises(AssertionError, match="nothing to compare"):
        check_unbiased("no means", [], [], [])
    assert 2 * norm.sf(BOUND) * MOST_STATISTICS < 1e-6 / 20


def test_an_effect_of_the_stated_size_is_found_with_the_stated_probability() -> None:
    # The mean of draws is off by the effect: in how many of 20,000 experiments is that found?
    error, truth = 0.1, 2.0
    effect = effect_of("a mean", error, truth)
    assert effect.size == pytest.approx(REACH * error)
    assert effect.relative == pytest.approx(effect.size / truth)
    means = truth + effect.size + error * np.random.default_rng(0).normal(size=20_000)
    found = np.abs(means - truth) > BOUND * error
    assert found.mean() == pytest.approx(FOUND, abs=5 * np.sqrt(FOUND * (1 - FOUND) / len(means)))
    # A whole array that is off by a factor is found by its most precise entry.
    assert effect_of("an array", [0.1, 0.1, 0.1], [0.0, 1.0, 10.0]).relative == pytest.approx(REACH * 0.01)
    assert effect_of("zero", 0.1, 0.0).relative == np.inf


def test_the_bias_of_the_order_of_updates_is_that_of_an_integral_over_both_draws() -> None:
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    mean, scale, step_size = 0.7, 0.8, 0.3
    x = mean + scale * nodes
    both = np.stack(np.meshgrid(x, x, indexing="ij"), -1)
    h = both * np.sin(both)
    moved = mean - step_size * ((h * (both - mean)).mean(-1) / scale**2 + mean - 1)
    late, early = (
        (h * (np.square(both - center) / scale**2 - 1)).mean(-1) for center in (moved[..., None], np.asarray(mean))
    )
    total = np.outer(weights, weights) / weights.sum() ** 2
    expected = (total * (late - early)).sum()
    assert bias_of_the_order(mean, scale, step_size, 2) == pytest.approx(expected, rel=1e-10)


def test_no_sign_bias_form_of_gelu_falls_and_rises_further_than_gelu() -> None:
    rng = np.random.default_rng(0)
    line = np.linspace(-6, 6, 33)
    greatest = 0.0
    for _ in range(200):
        u = 3 * rng.normal() * line + 3 * rng.normal()
        gelu = u * norm.cdf(u)
        greatest = max(greatest, fall_and_rise(rng.choice([-1, 1]) * gelu + rng.normal()))
        assert fall_and_rise(2 * gelu) <= 2 * GELU_DEPTH + 1e-12
    assert 0.9 * GELU_DEPTH < greatest <= GELU_DEPTH + 1e-12
    assert fall_and_rise(np.array([0.0, -1.0, 2.0])) == 1.0
    assert fall_and_rise(np.array([0.0, 1.0, 2.0])) == 0.0


def test_arrays_agree_only_within_the_bound_of_each_entry() -> None:
    check_equal("scalars", 1.0, 1.5, 0.5)
    check_equal("entries", [[1.0, 2.0]], [[1.5, 2.0]], [[0.5, 0.0]])
    check_equal("one number for all", np.zeros(3), 0.0, 0.0)
    check_equal("an infinite bound", 1.0, 2.0, np.inf)
    with pytest.raises(AssertionError, match=r"entries: got 2, expected 2\.5 at \(0, 1\); the difference 0\.5"):
        check_equal("entries", [[1.0, 2.0]], [[1.5, 2.5]], [[0.5, 0.25]])
    with pytest.raises(AssertionError, match="got nan"):
        check_equal("NaN", [1.0, np.nan], [1.0, 1.0], np.inf)
    with pytest.raises(AssertionError, match=r"got shape \(2,\), expected \(1,\)"):
        check_equal("shapes", np.zeros(2), np.zeros(1), 0.0)
    with pytest.raises(AssertionError, match="nothing to compare"):
        check_equal("no entries", np.zeros(0), np.zeros(0), 0.0)
