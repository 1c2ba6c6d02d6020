"""Right maps that float64 cannot decide do not fail, and the same maps with a mistake do."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest

from mathdnn_jax.bijectors import plu
from mathdnn_jax.testing import BijectorCheckError, check_bijector

from .maps import RIGHT
from .mistakes import MISTAKES

UNDECIDED = {
    *("precomputed", "PyTorch's", "PyTorch's, there and back", "symmetric, parameters", "symmetric, constants"),
    *("exponential, parameters", "exponential, constants", "near, constants"),
}
"""Maps that cannot be decided at every condition: inverses that are constants, maps that high precision cannot follow,
factors that are NaN, exponentials that are right to float64 only, and constants whose rounding moves a determinant near
zero."""

PROMPT = (
    "plu of the library",
    "dense, constants",
    "triangular, constants",
    "precomputed",
    "elementwise",
    "coupled and back, constants",
    "there and back, constants",
    "PyTorch's, there and back",
)
"""The kinds that every run tries."""

MISTAKEN = {
    "the sign is flipped": "plu of the library",
    "a factor is missing": "dense, parameters",
    "an entry is missing": "triangular, constants",
    "the inverse's sign is flipped": "coupling, constants",
    "the inverse is too large": "factored, parameters",
    "the inverse forgets a shift": "triangular, parameters",
    "an entry is repeated": "mixed, parameters",
    "the event is centred": "there and back, constants",
    "rank one": "dense, constants",
}


def rng_of(kind: str, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, *kind.encode()])


def accept(kind: str, seed: int, **options: Any) -> None:
    """Check a right map, which may be undecided if it is one of `UNDECIDED`."""
    if kind.startswith("PyTorch's"):
        pytest.importorskip("torch", reason="the map is PyTorch's")
    right = RIGHT[kind](rng_of(kind, seed))
    if kind not in UNDECIDED:
        right.check(seed=seed, **options)
        return
    try:
        right.check(seed=seed, **options)
    except BijectorCheckError as error:
        if error.check != "undecided":
            raise


@pytest.mark.parametrize("kind", PROMPT)
def test_a_right_map_does_not_fail(kind: str) -> None:
    # Gradients take as long to compile as everything else.
    accept(kind, 0, examples=1, gradients=False)


@pytest.mark.parametrize("seed", [6, 19, 33])
def test_a_plu_that_was_once_called_singular_passes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lower, upper = rng.normal(size=(2, 4, 4))
    powers = rng.choice([-1.0, 1.0], 4) * 10.0 ** rng.choice([-6, 0, 6], 4)
    params = {"lower": lower, "upper": upper, "diagonal": np.asarray(powers * rng.uniform(0.9, 1.1, 4))}
    bijector = plu(4)
    check_bijector(bijector.forward, bijector.inverse, event_shape=(4,), params=st.just(params), examples=2)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 11))
@pytest.mark.parametrize("kind", RIGHT)
def test_no_right_map_fails(kind: str, seed: int) -> None:
    accept(kind, seed, examples=2)


def refuse(mistake: str, kind: str, seed: int) -> None:
    """Check a wrong map. The mistake must be found by name, unless the map is one of `UNDECIDED`."""
    wanted = MISTAKES[mistake]
    right = RIGHT[kind](rng_of(kind, seed))
    if wanted.check == "singular" and right.options["event_shape"][0] < 2:
        return
    if kind.startswith("exponential") and wanted.check == "round_trip":
        pytest.skip("an exponential is right to float64 only, which at this condition excuses its inverse")
    with pytest.raises(BijectorCheckError) as caught:
        wanted.make(right).check(examples=2, seed=seed, gradients=False)
    found = caught.value.check, caught.value.direction
    assert found == (wanted.check, wanted.direction) or (found[0] == "undecided" and kind in UNDECIDED), caught.value


@pytest.mark.parametrize("mistake", MISTAKEN)
def test_a_mistake_is_found(mistake: str) -> None:
    refuse(mistake, MISTAKEN[mistake], 2)


@pytest.mark.long
@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("kind", RIGHT)
def test_mistakes_are_found_in_every_kind(kind: str, mistake: str) -> None:
    if kind.startswith("PyTorch's"):
        pytest.importorskip("torch", reason="the map is PyTorch's")
    refuse(mistake, kind, 3)
