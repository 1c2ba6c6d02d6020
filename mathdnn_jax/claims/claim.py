"""A mathematical statement that can be run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from hypothesis.strategies import SearchStrategy

Verdict = Literal["holds", "refuted"]


class Claim(NamedTuple):
    """A statement, where it comes from, and the property that decides it.

    - `id`: short and stable, the row of the system it is about and a word: "F5.log_det";
    - `statement`: the formula, for a person;
    - `source`: the seeds' problem, or the erratum;
    - `verdict`: "holds", or "refuted" for a mistaken statement, which must be found wrong each time;
    - `property`: a function of the drawn arguments that raises AssertionError, with the numbers, where the statement
      fails. It runs with JAX's 64-bit types on;
    - `strategies`: what hypothesis draws for each argument. Without any the property is run once: a computation with
      no choice in it, or a Monte-Carlo test with a fixed key and a stated chance of a false alarm.
    """

    id: str
    statement: str
    source: str
    verdict: Verdict
    property: Callable[..., None]
    strategies: Mapping[str, SearchStrategy[Any]]


def claim(
    id: str,  # noqa: A002
    statement: str,
    *,
    source: str,
    verdict: Verdict = "holds",
    **strategies: SearchStrategy[Any],
) -> Callable[[Callable[..., None]], Claim]:
    """Make a claim of the property that follows: `@claim("F5.log_det", "log|det A| = …", source="000 Q4a", dim=…)`."""

    def decorate(check: Callable[..., None]) -> Claim:
        return Claim(id, statement, source, verdict, check, strategies)

    return decorate
