"""Decides a claim: runs its property on drawn arguments, and reports what was found."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import hypothesis
import jax

from mathdnn_jax.claims.chance import Effect
from mathdnn_jax.claims.claim import Claim, Verdict
from mathdnn_jax.claims.evidence import Undecided
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.seeds import check_seed

SEARCHED = 200
"""Least number of draws in the search for the counterexample of a mistaken statement."""


class Outcome(NamedTuple):
    """The result of running a claim.

    - `claim`: the claim;
    - `found`: "holds" if every example satisfied the property, "refuted" if one broke it;
    - `passed`: whether this is the verdict that the claim states;
    - `counterexample`: the smallest arguments that broke the property, as text, or None;
    - `message`: the property's message about them, or None;
    - `examples`: how many cases were decided;
    - `seconds`: how long that took, compilation included;
    - `undecided`: how many cases float64 could not decide, because rounding alone would explain a wrong result. Others
      were drawn in their place;
    - `effects`: for a Monte-Carlo test, the errors that it finds with probability 0.99.
    """

    claim: Claim
    found: Verdict
    passed: bool
    counterexample: dict[str, str] | None
    message: str | None
    examples: int
    seconds: float
    undecided: int = 0
    effects: tuple[Effect, ...] = ()


def run_claim(claim: Claim, *, examples: int = 25, seed: int | None = None) -> Outcome:
    """Run a claim's property in float64 on drawn arguments, and shrink those that break it to the smallest ones.

    Args:
        claim: the claim to decide.
        examples: number of draws. A claim without arguments runs once. One with the verdict "refuted" may take
            `SEARCHED` draws if `examples` is less, since it ends with the first draw that breaks it.
        seed: seed of all draws. With None, the draws are a function of the property alone, the same in every run.

    Returns:
        What was found, and whether that is the verdict that the claim states.

    Raises:
        ConfigurationError: `examples` is less than 1, or the seed is not a whole number from 0 to 2³² − 1.
        Exception: whatever else than AssertionError the property raises, or hypothesis's Unsatisfiable if no case could
            be decided; the claim could not be decided either.

    Example:
        >>> from mathdnn_jax.claims import find_claims, run_claim
        >>> (limit,) = find_claims(["E7.indicator"])
        >>> limit.statement
        '∇ν_β(x) → e_imax, the indicator of one entry, as β → ∞'
        >>> outcome = run_claim(limit)
        >>> outcome.found, outcome.passed, outcome.counterexample
        ('refuted', True, {'x': '[0, 0]'})
    """
    if examples < 1:
        raise ConfigurationError(f"got examples={examples}; a claim needs at least one example")
    runs = undecided = 0
    arguments: dict[str, Any] = {}
    effects: dict[str, Effect] = {}

    def recorded(**drawn: Any) -> None:
        nonlocal runs, undecided
        # The last run of a failing property is the smallest case: hypothesis replays it before it reports.
        arguments.clear()
        arguments.update(drawn)
        try:
            found = claim.property(**drawn)
        except Undecided:
            undecided += 1
            hypothesis.reject()
        except AssertionError:
            runs += 1
            raise
        runs += 1
        # Of several examples the least sensitive one is stated.
        for effect in found or ():
            if effect.what not in effects or effect.relative > effects[effect.what].relative:
                effects[effect.what] = effect

    start = time.perf_counter()
    message = None
    if seed is not None:
        check_seed(seed)
    try:
        with jax.enable_x64(True):
            if claim.strategies:
                _searched(recorded, claim, examples, seed)()
            elif claim.sampled:
                recorded(seed=seed or 0)
            else:
                recorded()
    except AssertionError as broken:
        message = str(broken).strip() or "the property does not hold"
    found: Verdict = "holds" if message is None else "refuted"
    return Outcome(
        claim=claim,
        found=found,
        passed=found == claim.verdict,
        counterexample=None if message is None else {name: _shown(value) for name, value in arguments.items()},
        message=message,
        examples=runs,
        seconds=time.perf_counter() - start,
        undecided=undecided,
        effects=tuple(effects.values()),
    )


def _searched(recorded: Any, claim: Claim, examples: int, seed: int | None) -> Any:
    # Without a seed, hypothesis derives the draws from the function's name and text.
    recorded.__name__ = recorded.__qualname__ = claim.property.__name__
    test = hypothesis.given(**claim.strategies)(recorded)
    if seed is not None:
        test = hypothesis.seed(seed)(test)
    return hypothesis.settings(
        max_examples=examples if claim.verdict == "holds" else max(examples, SEARCHED),
        derandomize=seed is None,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck),
    )(test)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."
