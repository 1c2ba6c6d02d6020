"""The seed of a run reaches every draw of every claim."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mathdnn_jax.claims
from mathdnn_jax.claims import CLAIMS, Claim, run_claim
from mathdnn_jax.claims.chance import check_unbiased

ROOM = Path(mathdnn_jax.claims.__file__).parent
SAMPLED = [claim for claim in CLAIMS if claim.sampled]
EXAMPLES = 8
# These compile programs for seconds.
SLOW = {claim.id for claim in SAMPLED if claim.id.startswith("V2.")}
SLOW |= {"E1.run", "E10.run", "E6.six_decimals", "P4.estimate", "P5.course_runs", "P5.score_function"}


def draws_of(claim: Claim, seed: int) -> list[str]:
    drawn: list[str] = []
    recorder = claim._replace(property=lambda **given: drawn.append(repr(given)), verdict="holds")
    run_claim(recorder, examples=EXAMPLES, seed=seed)
    return drawn


@pytest.mark.parametrize("claim", [c for c in CLAIMS if c.strategies or c.sampled], ids=lambda claim: claim.id)
def test_two_seeds_draw_differently(claim: Claim) -> None:
    first, second = draws_of(claim, 1), draws_of(claim, 2)
    assert first == draws_of(claim, 1)
    # Where there are fewer cases than draws, each seed tries all of them.
    exhausted = len(set(first)) < EXAMPLES and set(first) == set(second)
    assert exhausted or first != second


def test_claims_without_draws_are_computations() -> None:
    assert {claim.id for claim in CLAIMS if not claim.strategies and not claim.sampled} == {
        *("C5.alexnet", "E11.order", "P4.value", "P5.course_formula", "P5.course_reparameterized", "P5.least"),
        *("P5.least_value", "P5.optimum"),
    }


def fixed_generators(source: str) -> list[str]:
    """Calls that make a generator of constants, except where only shapes are computed."""
    found: list[str] = []

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name.endswith("eval_shape"):
                return
            makes = name.endswith(("random.key", "PRNGKey", "default_rng", "RandomState", "random.seed"))
            if makes and not any(isinstance(part, ast.Name) for argument in node.args for part in ast.walk(argument)):
                found.append(ast.unparse(node))
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(source))
    return found


def test_no_generator_is_fixed() -> None:
    assert fixed_generators("jax.random.key(0)\nnp.random.default_rng()\njax.eval_shape(f, jax.random.key(0))") == [
        "jax.random.key(0)",
        "np.random.default_rng()",
    ]
    sources = {path.name: path.read_text(encoding="utf-8") for path in ROOM.glob("*.py")}
    assert any("default_rng(" in source for source in sources.values())
    assert {name: found for name, source in sources.items() if (found := fixed_generators(source))} == {}


@pytest.mark.parametrize(
    "claim",
    [pytest.param(claim, marks=pytest.mark.long if claim.id in SLOW else ()) for claim in SAMPLED],
    ids=lambda claim: claim.id,
)
def test_a_monte_carlo_test_draws_from_the_seed(claim: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    statistics: list[np.ndarray] = []

    def record(what: str, mean: Any, *rest: Any) -> Any:
        statistics.append(np.asarray(mean, np.float64))
        return check_unbiased(what, mean, *rest)

    module = sys.modules[claim.property.__module__]
    if hasattr(module, "check_unbiased"):
        monkeypatch.setattr(module, "check_unbiased", record)
    found: dict[int, list[Any]] = {}
    for seed in (1, 2):
        statistics.clear()
        outcome = run_claim(claim, seed=seed)
        assert outcome.passed, outcome.message
        found[seed] = [float(number) for array in statistics for number in np.ravel(array)]
        found[seed] += [outcome.message] if outcome.message else []
    assert len(found[1]) > 0
    assert found[1] != found[2]


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_verdicts_do_not_depend_on_the_seed(seed: int) -> None:
    outcomes = [run_claim(claim, examples=5, seed=seed) for claim in CLAIMS if claim.id not in SLOW]
    assert {outcome.claim.id: outcome.message for outcome in outcomes if not outcome.passed} == {}
    # Cases that cannot be decided are rare.
    assert all(outcome.undecided <= outcome.examples for outcome in outcomes)
