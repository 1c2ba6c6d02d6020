"""The search for a case that fails, and for the smallest such case, with hypothesis."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import hypothesis
import hypothesis.configuration
import jax
import numpy as np
from hypothesis.strategies import SearchStrategy

from mathdnn_jax.testing.cases import Case
from mathdnn_jax.testing.failure import Failure

SHRINKING = 10.0
"""The time for which smaller cases are looked for, in seconds."""

WITHOUT_JIT = 8
"""The number of cases that are also tried without jit."""


class Found(NamedTuple):
    """A failure, its case, and the number of cases that were tried."""

    failure: Failure
    case: Case
    tried: int


class _FailedError(Exception):
    pass


def search(
    first: Sequence[Case],
    strategy: SearchStrategy[Case],
    check: Callable[[Case, bool], Failure | None],
    *,
    examples: int,
    seed: int,
) -> Found | None:
    """Check the first cases, then `examples` drawn ones. Return None if none of them fails.

    The second argument of `check` says whether the map is also called without jit. A failure is shrunk: hypothesis
    looks for the simplest case that fails the same check in the same direction.
    """
    found: list[Found] = []
    tried = 0
    until = float("inf")

    def fails(case: Case) -> bool:
        nonlocal tried, until
        tried += 1
        # A map is slow without jit. But if that is what fails, every smaller case must be tried without it too.
        failure = check(case, tried <= WITHOUT_JIT or bool(found and found[0].failure.check == "jit"))
        if failure is None or (found and found[0].failure[:2] != failure[:2]):
            return False
        if not found:
            until = time.monotonic() + SHRINKING
        found.append(Found(failure, case, tried))
        return True

    for case in first:
        if fails(case):
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
            # The result of a case is kept when time is up, so that hypothesis can reproduce the failure that it found.
            known[key] = fails(case) if time.monotonic() < until else False
        if known[key]:
            raise _FailedError

    with _own_storage(), contextlib.suppress(_FailedError, hypothesis.errors.Flaky):
        run()
    return found[-1]._replace(tried=tried) if found else None


@contextlib.contextmanager
def _own_storage() -> Iterator[None]:
    """Let hypothesis keep what it learns of the user's modules elsewhere than in `.hypothesis` in the user's folder."""
    before = getattr(hypothesis.configuration, "__hypothesis_home_directory", None)
    with tempfile.TemporaryDirectory(prefix="mathdnn-hypothesis-") as folder:
        hypothesis.configuration.set_hypothesis_home_dir(folder)
        try:
            yield
        finally:
            hypothesis.configuration.set_hypothesis_home_dir(before)


def _content(case: Case) -> object:
    return [leaf.tobytes() if isinstance(leaf, np.ndarray) else leaf for leaf in jax.tree.leaves(case)]
