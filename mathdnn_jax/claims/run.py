"""Deciding a claim: its property under hypothesis, and what was found."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import hypothesis
import jax

from mathdnn_jax.claims.claim import Claim, Verdict
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.seeds import check_seed

SEARCHED = 200
"""The least number of draws among which a counterexample is looked for, where there is said to be one."""


class Outcome(NamedTuple):
    """What running a claim found.

    - `claim`: the claim;
    - `found`: "holds" when the property stood in every example, "refuted" when one broke it;
    - `passed`: whether that is the verdict that the claim states;
    - `counterexample`: the smallest arguments that broke the property, as text, None where it stood;
    - `message`: what the property said of them, None where it stood;
    - `examples`: how many times the property was run;
    - `seconds`: how long that took, compilation included.
    """

    claim: Claim
    found: Verdict
    passed: bool
    counterexample: dict[str, str] | None
    message: str | None
    examples: int
    seconds: float


def run_claim(claim: Claim, *, examples: int = 25, seed: int | None = None) -> Outcome:
    """Run a claim's property on drawn arguments, in float64; a broken property is shrunk to the smallest arguments.

    Args:
        claim: what to decide.
        examples: how many draws; a claim that draws nothing is run once. A claim that is stated to be refuted may take
            `SEARCHED` draws, since it ends with the first one that breaks it.
        seed: of the draws; None takes the same ones each time, a function of the property alone.

    Raises:
        ConfigurationError: examples < 1, or the seed is not a whole number from 0 to 2³² − 1.
        Exception: whatever a property raises other than AssertionError: it could not be decided.
    """
    if examples < 1:
        raise ConfigurationError(f"a claim is run on at least one example, given examples={examples}")
    runs = 0
    arguments: dict[str, Any] = {}

    def recorded(**drawn: Any) -> None:
        nonlocal runs
        runs += 1
        # The last run of a failing property is the smallest case: hypothesis replays it before it reports.
        arguments.clear()
        arguments.update(drawn)
        claim.property(**drawn)

    start = time.perf_counter()
    message = None
    try:
        with jax.enable_x64(True):
            (_searched(recorded, claim, examples, seed) if claim.strategies else recorded)()
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
    )


def _searched(recorded: Any, claim: Claim, examples: int, seed: int | None) -> Any:
    # The same draws each time are drawn from the function's name and text.
    recorded.__name__ = recorded.__qualname__ = claim.property.__name__
    test = hypothesis.given(**claim.strategies)(recorded)
    if seed is not None:
        test = hypothesis.seed(check_seed(seed))(test)
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
