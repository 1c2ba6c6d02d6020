"""A mathematical statement that can be run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from hypothesis.strategies import SearchStrategy

from mathdnn_jax.claims.chance import Effect

Verdict = Literal["holds", "refuted"]
Property = Callable[..., Sequence[Effect] | None]


class Claim(NamedTuple):
    """A statement, its source, and the property that decides it.

    - `id`: a short, stable name, which consists of the system or erratum and a word: "F5.log_det";
    - `statement`: the formula, as users read it;
    - `source`: the course's problem, and the erratum if there is one;
    - `verdict`: "holds", or "refuted" for a mistaken statement, for which every run must find a counterexample;
    - `property`: a function of the drawn arguments that raises AssertionError, with the numbers, if the statement
      fails. It runs with JAX's 64-bit types enabled. A Monte-Carlo test returns the effects that it finds (`Effect`);
    - `strategies`: what hypothesis draws for each argument. A property without any runs once;
    - `sampled`: whether the property is a Monte-Carlo test that runs once. Its only argument is then `seed`, the seed
      of the run, from which it makes all of its draws. A property that is neither sampled nor has strategies is a
      computation that involves no choice.
    """

    id: str
    statement: str
    source: str
    verdict: Verdict
    property: Property
    strategies: Mapping[str, SearchStrategy[Any]]
    sampled: bool = False


def claim(
    id: str,  # noqa: A002
    statement: str,
    *,
    source: str,
    verdict: Verdict = "holds",
    sampled: bool = False,
    **strategies: SearchStrategy[Any],
) -> Callable[[Property], Claim]:
    """Turn the property that follows into a claim; see `Claim` for the arguments.

    Returns:
        A decorator that replaces the property by its `Claim`.

    Example:
        >>> import hypothesis.strategies as st
        >>> from mathdnn_jax.claims import claim, run_claim
        >>> @claim("X.square", "n² > n", source="a mistake", verdict="refuted", n=st.integers(0, 9))
        ... def square_exceeds_its_root(n: int) -> None:
        ...     if not n * n > n:
        ...         raise AssertionError(f"n² = {n * n}")
        >>> run_claim(square_exceeds_its_root).counterexample
        {'n': '0'}
    """

    def decorate(check: Property) -> Claim:
        return Claim(id, statement, source, verdict, check, strategies, sampled)

    return decorate
