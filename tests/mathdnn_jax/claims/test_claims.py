"""Decides every claim of the registry; a counterexample must be found for each refuted one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from mathdnn_jax.claims import CLAIMS, Claim, find_claims, run_claim
from mathdnn_jax.claims.chance import BOUND, MOST_STATISTICS, check_unbiased
from mathdnn_jax.claims.evidence import check_equal
from mathdnn_jax.errors import ConfigurationError

FEW, MANY = 5, 25

# Claims that compile a program for nearly every example.
COMPILED = {
    *("C2.stacks", "C3.homogeneous", "C3.leaky_relu", "C4.strides", "C5.formula", "C7.law"),
    *("F2.log_det", "F3.log_det", "F10.derivative", "F10.inverse", "F11.density"),
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
    assert [claim.id for claim in find_claims(["F3"])] == ["F3.log_det", "F3.inverse"]
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
    assert 2 * norm.sf(BOUND) * MOST_STATISTICS < 1e-6 / 20


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
