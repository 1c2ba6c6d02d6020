"""Check the mathematical claims on random examples; a counterexample must be found for each refuted one."""

from __future__ import annotations

import argparse
import json
import math
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from mathdnn_jax.cli import arguments
from mathdnn_jax.progress import progress

if TYPE_CHECKING:
    from mathdnn_jax.claims import Outcome


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--examples", type=arguments.count, default=25, metavar="N", help="draws for each claim (default: 25)"
    )
    parser.add_argument("--seed", type=arguments.seed, help="seed of all draws (default: the same draws in every run)")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="ID",
        help="check this claim (F5.log_det) or all claims of a system or an erratum (F5, E4); may be repeated",
    )
    parser.add_argument("--list", action="store_true", help="list the claims without running them")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Run the command.

    Returns:
        0, or 1 if a claim that should hold was refuted, or no counterexample was found for one that should be refuted.
    """
    from mathdnn_jax.claims import CLAIMS, find_claims, run_claim

    claims = find_claims(options.only) if options.only else CLAIMS
    if options.list:
        rows = [{"id": c.id, "statement": c.statement, "source": c.source, "verdict": c.verdict} for c in claims]
        if options.json:
            print(json.dumps({"claims": rows}, ensure_ascii=False))
        else:
            _print_table(("id", "statement", "source", "verdict"), [tuple(row.values()) for row in rows])
        return 0
    outcomes = []
    with progress("claims", len(claims)) as advance:
        for claim in claims:
            outcomes.append(run_claim(claim, examples=options.examples, seed=options.seed))
            advance(1)
    passed = all(outcome.passed for outcome in outcomes)
    if options.json:
        report = {"passed": passed, "claims": [as_dict(outcome) for outcome in outcomes]}
        print(json.dumps(report, ensure_ascii=False))
    else:
        describe(outcomes)
    return 0 if passed else 1


def as_dict(outcome: Outcome) -> dict[str, Any]:
    """The outcome as a JSON object."""
    claim = outcome.claim
    return {
        "id": claim.id,
        "statement": claim.statement,
        "source": claim.source,
        "verdict": claim.verdict,
        "found": outcome.found,
        "passed": outcome.passed,
        "counterexample": outcome.counterexample,
        "message": outcome.message,
        "examples": outcome.examples,
        "seconds": outcome.seconds,
        "undecided": outcome.undecided,
        "effects": [
            # JSON has no infinity, which stands for a truth of 0.
            effect._asdict() | {"relative": effect.relative if math.isfinite(effect.relative) else None}
            for effect in outcome.effects
        ],
    }


def describe(outcomes: list[Outcome]) -> None:
    """Print a table of the outcomes, the counterexamples, and the counts."""
    rows: list[tuple[str, ...]] = []
    for outcome in outcomes:
        claim, found = outcome.claim, outcome.found + ("" if outcome.passed else ", NOT as stated")
        rows.append((claim.id, claim.statement, claim.source, found, str(outcome.examples)))
    _print_table(("id", "statement", "source", "found", "examples"), rows)
    for outcome in outcomes:
        if outcome.message is not None:
            drawn = ", ".join(f"{name}={value}" for name, value in (outcome.counterexample or {}).items())
            said = outcome.message.replace("\n", "\n  ")
            print(f"\n{outcome.claim.id} is refuted by {drawn or 'computation'}:\n  {said}")
    _print_power(outcomes)
    held = sum(outcome.found == "holds" for outcome in outcomes)
    wrong = ", ".join(outcome.claim.id for outcome in outcomes if not outcome.passed)
    print(f"\n{held} hold, {len(outcomes) - held} refuted; {f'NOT as stated: {wrong}' if wrong else 'all as stated'}")


def _print_power(outcomes: list[Outcome]) -> None:
    """Print what the Monte-Carlo tests among the claims would find, and how many cases could not be decided."""
    from mathdnn_jax.claims.chance import FOUND

    for outcome in outcomes:
        if outcome.undecided:
            print(f"\n{outcome.claim.id}: {outcome.undecided} more cases could not be decided in float64")
        if outcome.effects:
            print(f"\n{outcome.claim.id} finds with probability {FOUND:g}, in")
        for effect in outcome.effects:
            share = f", a factor of {1 + effect.relative:.4g}" if math.isfinite(effect.relative) else ""
            print(f"  {effect.what}: an error of {effect.size:.3g}{share}")


def _print_table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    table = Table(show_lines=False, box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column in ("id", "found", "examples"), overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False, markup=False).print(table)
