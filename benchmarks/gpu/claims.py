"""The mathematical claims of the library, decided on the device in float64, as many as time allows."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import jax

from benchmarks.gpu.failure import as_record
from mathdnn_jax.claims import CLAIMS, Claim, run_claim

EXAMPLES = 3
"""Number of draws for each claim: only the arithmetic can differ on another device, and every draw exercises it."""


def claims(rehearsal: bool, left: Callable[[], float], some: tuple[Claim, ...] = CLAIMS) -> Iterator[tuple[str, Any]]:
    """Yield ("claim", …) for each claim that is decided, and finally ("claims", …) with the counts.

    Products of float32 arrays are computed in float32. A rehearsal decides two claims, with one draw each.
    """
    ordered = in_turn(some)
    if rehearsal:
        ordered = ordered[:2]
    decided = 0
    with jax.default_matmul_precision("highest"):
        for claim in ordered:
            if left() <= 0:
                break
            yield "claim", _decided(claim, 1 if rehearsal else EXAMPLES)
            decided += 1
    yield "claims", {"there_are": len(some), "asked": len(ordered), "decided": decided}


def in_turn(some: tuple[Claim, ...]) -> tuple[Claim, ...]:
    """Return the first claim of each system, then the second of each, and so on: even a cut run covers all systems."""
    seen: Counter[str] = Counter()
    ranks = []
    for place, claim in enumerate(some):
        system = claim.id.partition(".")[0]
        ranks.append((seen[system], place, claim))
        seen[system] += 1
    return tuple(claim for _, _, claim in sorted(ranks, key=lambda rank: rank[:2]))


def _decided(claim: Claim, examples: int) -> dict[str, Any]:
    about = {"id": claim.id, "verdict": claim.verdict}
    began = time.monotonic()
    try:
        outcome = run_claim(claim, examples=examples)
    except Exception as error:
        return {**about, "passed": False, **as_record(error), "seconds": time.monotonic() - began}
    return {
        **about,
        "passed": outcome.passed,
        "found": outcome.found,
        "message": None if outcome.passed else outcome.message,
        "examples": outcome.examples,
        "seconds": outcome.seconds,
    }
