from __future__ import annotations

import hypothesis.strategies as st
import jax.numpy as jnp
import pytest
from hypothesis.errors import Unsatisfiable

from mathdnn_jax.claims import Effect, claim, run_claim
from mathdnn_jax.claims.evidence import Undecided
from mathdnn_jax.claims.run import SEARCHED
from mathdnn_jax.errors import ConfigurationError


@claim("X.true", "n² ≥ 0", source="here", n=st.integers())
def square(n: int) -> None:
    """A statement that holds."""
    assert n * n >= 0


@claim("X.false", "n < 10", source="here", verdict="refuted", n=st.integers(0, 1000))
def small(n: int) -> None:
    """A mistaken statement."""
    if n >= 10:
        raise AssertionError(f"{n} is not below 10")


def test_a_true_statement_holds() -> None:
    outcome = run_claim(square, examples=17)
    assert (outcome.found, outcome.passed, outcome.counterexample, outcome.message) == ("holds", True, None, None)
    assert outcome.examples == 17
    assert outcome.seconds > 0


def test_a_mistaken_statement_is_refuted_by_its_smallest_counterexample() -> None:
    outcome = run_claim(small)
    assert (outcome.found, outcome.passed) == ("refuted", True)
    assert outcome.counterexample == {"n": "10"}
    assert outcome.message == "10 is not below 10"


def test_the_search_for_a_counterexample_may_take_more_draws_than_asked_for() -> None:
    assert run_claim(square._replace(verdict="refuted"), examples=2).examples == SEARCHED


def test_a_false_statement_that_is_said_to_hold_does_not_pass() -> None:
    outcome = run_claim(small._replace(verdict="holds"))
    assert (outcome.found, outcome.passed) == ("refuted", False)


def test_a_true_statement_that_is_said_to_be_refuted_does_not_pass() -> None:
    outcome = run_claim(square._replace(verdict="refuted"))
    assert (outcome.found, outcome.passed) == ("holds", False)


def test_a_statement_without_arguments_is_run_once() -> None:
    assert run_claim(square._replace(property=lambda: None, strategies={}), examples=9).examples == 1


def test_properties_run_with_64_bit_types() -> None:
    seen = []
    run_claim(square._replace(property=lambda: seen.append(jnp.zeros(()).dtype), strategies={}))
    assert [str(dtype) for dtype in seen] == ["float64"]
    assert jnp.zeros(()).dtype == jnp.float32


def test_the_draws_depend_on_the_seed_alone() -> None:
    def draws(seed: int | None) -> list[int]:
        drawn: list[int] = []
        run_claim(square._replace(property=lambda n: drawn.append(n)), seed=seed)
        return drawn

    assert draws(1) == draws(1)
    assert draws(None) == draws(None)
    assert len({tuple(draws(seed)) for seed in (None, 1, 2)}) == 3


def test_a_monte_carlo_test_runs_once_with_the_seed_of_the_run() -> None:
    seeds: list[int] = []

    def check(seed: int) -> list[Effect]:
        seeds.append(seed)
        return [Effect("a mean", 0.5, 0.25)]

    sampled = square._replace(property=check, strategies={}, sampled=True)
    for seed in (None, 0, 7):
        outcome = run_claim(sampled, examples=9, seed=seed)
        assert (outcome.examples, outcome.effects) == (1, (Effect("a mean", 0.5, 0.25),))
    assert seeds == [0, 0, 7]
    with pytest.raises(ConfigurationError, match="seed"):
        run_claim(sampled, seed=-1)


def test_of_several_examples_the_least_sensitive_effect_is_stated() -> None:
    outcome = run_claim(square._replace(property=lambda n: [Effect("a mean", 1.0, abs(n))]), examples=20)
    assert len(outcome.effects) == 1
    assert outcome.effects[0].relative > 0


def test_a_case_that_cannot_be_decided_is_replaced_and_counted() -> None:
    drawn: list[int] = []

    def check(n: int) -> None:
        if n % 2:
            raise Undecided("odd")
        drawn.append(n)

    outcome = run_claim(square._replace(property=check), examples=10)
    assert (outcome.found, outcome.examples) == ("holds", 10)
    assert len(drawn) == 10
    assert outcome.undecided > 0


def test_a_claim_of_which_no_case_can_be_decided_does_not_hold() -> None:
    def check(n: int) -> None:
        raise Undecided(f"{n}")

    with pytest.raises(Unsatisfiable):
        run_claim(square._replace(property=check))


def test_an_error_other_than_an_assertion_is_not_a_counterexample() -> None:
    def broken(n: int) -> None:
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        run_claim(small._replace(property=broken))


def test_zero_examples_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="examples=0"):
        run_claim(square, examples=0)
