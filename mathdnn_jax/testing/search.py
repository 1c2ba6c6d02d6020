"""Finding a case that fails, and the smallest such case, with hypothesis."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import hypothesis
import jax
import numpy as np
from hypothesis.strategies import SearchStrategy

from mathdnn_jax.testing.cases import Case
from mathdnn_jax.testing.finding import Finding

SHRINKING = 10.0
"""Seconds for which smaller cases are looked for."""

PLAINLY = 8
"""How many cases are tried without jit too."""


class Found(NamedTuple):
    """A finding, its case, and how many cases were tried."""

    finding: Finding
    case: Case
    tried: int


class _FailedError(Exception):
    pass


def search(
    first: Sequence[Case],
    strategy: SearchStrategy[Case],
    judge: Callable[[Case, bool], Finding | None],
    *,
    examples: int,
    seed: int,
) -> Found | None:
    """Judge the first cases, then `examples` drawn ones; None where none fails.

    `judge` is also told whether to call the map without jit too.

    A failure is shrunk: of the cases that fail the same check in the same direction, hypothesis looks for the simplest.
    """
    found: list[Found] = []
    tried = 0
    until = float("inf")

    def look(case: Case) -> bool:
        nonlocal tried, until
        tried += 1
        # Without jit a map is slow; once that is what fails, every smaller case must be tried so.
        finding = judge(case, tried <= PLAINLY or bool(found and found[0].finding.check == "jit"))
        if finding is None or (found and found[0].finding[:2] != finding[:2]):
            return False
        if not found:
            until = time.monotonic() + SHRINKING
        found.append(Found(finding, case, tried))
        return True

    for case in first:
        if look(case):
            break

    known: dict[str, bool] = {}

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        derandomize=False,
        database=None,
        deadline=None,
        print_blob=False,
        report_multiple_bugs=False,
        verbosity=hypothesis.Verbosity.quiet,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
    )
    @hypothesis.given(strategy)
    def run(case: Case) -> None:
        key = repr(_content(case))
        if key not in known:
            # A case that was judged keeps its verdict, so that the search ends as it began.
            known[key] = look(case) if time.monotonic() < until else False
        if known[key]:
            raise _FailedError

    with contextlib.suppress(_FailedError, hypothesis.errors.Flaky):
        run()
    return found[-1]._replace(tried=tried) if found else None


def _content(case: Case) -> object:
    return [leaf.tobytes() if isinstance(leaf, np.ndarray) else leaf for leaf in jax.tree.leaves(case)]
