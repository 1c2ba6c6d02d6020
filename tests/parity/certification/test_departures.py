"""The first place where two networks depart, from the evidence of made-up networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from parity.capture import INPUT, OUTPUT, Place
from parity.certification.blame import find_blame, first_departure, judged
from parity.certification.comparison import Comparison, Values
from parity.certification.measure import measure
from parity.certification.networks import Watch
from parity.certification.outputs import CHANNELS_FIRST, Pair
from parity.certification.pairing import Known, in_jax_layout
from parity.certification.verdict import verdicts

ORDER = [
    Place("a", INPUT, "0"),
    Place("a", OUTPUT),
    Place("r", OUTPUT),
    Place("b", INPUT, "0"),
    Place("b", OUTPUT),
    Place("", OUTPUT),
]


def comparison(wrong: dict[Place, float], agree: list[Place], poor: tuple[Place, ...] = ()) -> Comparison:
    """The evidence of made-up networks: each place is off in float64 by so much, and the poor ones in float32 alone."""
    places = [*wrong, *agree]
    places.sort(key=ORDER.index)
    truth = np.random.default_rng(0).normal(size=(70, 3))
    torch32 = truth.astype(np.float32).astype(np.float64)
    off = {place: truth + wrong.get(place, 0.0) for place in places}
    jax32 = {place: torch32 + wrong.get(place, 1e-3 * (place in poor)) for place in places}
    evidence = {place: measure(truth, torch32, jax32[place], off[place], 0) for place in places}
    values = Values({}, dict.fromkeys(ORDER, truth), {}, off)
    return Comparison(evidence, {place: place for place in places}, values)


def test_a_layer_whose_input_is_not_seen_is_blamed_with_what_is_before_it() -> None:
    kinds = {"a": "Linear", "r": "ReLU", "b": "Linear"}
    found = find_blame(comparison({ORDER[4]: 0.1, ORDER[5]: 0.1}, ORDER[:2]), kinds)
    assert found is not None
    assert (found.place, found.modules) == ("between a and b", ("r (ReLU)", "b (Linear)"))
    assert find_blame(comparison({}, ORDER), kinds) is None


def test_what_is_poor_without_harm_to_the_next_layer_is_not_blamed() -> None:
    kinds = {"a": "Linear", "r": "ReLU", "b": "Linear"}
    first, _, third, read, fourth, output = ORDER
    for poor, place in (
        # The input of a is poor, and its output is as good as PyTorch's.
        ((first, fourth, output), "in b (Linear)"),
        ((first, read, fourth), "between r and b"),
        ((first, third), "between a and r"),
    ):
        found = find_blame(comparison({}, ORDER, poor), kinds)
        assert found is not None
        assert (found.place, found.formula) == (place, False)
    assert find_blame(comparison({}, ORDER, (first, read)), kinds) is None


def test_the_first_departure_of_any_recording() -> None:
    right = comparison({}, ORDER)
    truth = {place: array.copy() for place, array in right.values.truth.items()}
    keep: Any = lambda place, other, array, like: array if array.shape == like.shape else None  # noqa: E731
    assert first_departure(right, truth, keep) is None
    for index, place in enumerate(ORDER):
        off = truth[place] + 1e-9
        infinite = np.where(off > 0, np.inf, off)
        for spoilt in ({place: off}, {place: off * np.nan}, {place: infinite}, {place: off[:3]}, {}):
            recorded = {**{p: a for p, a in truth.items() if p != place}, **spoilt}
            assert first_departure(right, recorded, keep) == (index, place.layer, place.side)


@pytest.mark.parametrize("mask", [-np.inf, -1e9])
def test_a_mask_neither_is_a_departure_nor_hides_one(mask: float) -> None:
    truth = np.random.default_rng(0).normal(size=(70, 3))
    truth[:, 1] = mask
    place = ORDER[1]
    evidence = {place: measure(truth, truth.astype(np.float32), truth.astype(np.float32), truth, 0)}
    right = Comparison(evidence, {place: place}, Values({}, {place: truth}, {}, {place: truth}))
    keep: Any = lambda place, other, array, like: array  # noqa: E731
    assert first_departure(right, {place: truth.copy()}, keep) is None
    assert first_departure(right, {place: truth * (1 + 1e-9)}, keep) == (0, "a", "output")


def test_masked_scores_keep_the_layout_in_which_they_agree() -> None:
    scores = np.where(np.triu(np.ones((5, 5)), 1) > 0, -np.inf, np.random.default_rng(0).normal(size=(4, 5, 5)))
    np.testing.assert_array_equal(in_jax_layout("Scores", scores, scores), scores)
    np.testing.assert_array_equal(in_jax_layout("Scores", np.moveaxis(scores, -1, 1), scores), scores)


def test_inputs_do_not_make_the_outputs_after_them_narrow() -> None:
    generator = np.random.default_rng(0)
    wide, narrow = generator.normal(size=(100, 64)), generator.normal(size=(100, 3))
    sign = generator.choice([-1, 1], size=wide.shape)
    evidence = {
        ORDER[0]: measure(narrow, narrow, narrow, narrow, 0),
        ORDER[1]: measure(wide, wide + 1e-7 * sign, wide + 2e-7 * sign, wide, 0),
    }
    assert judged(evidence)[ORDER[1]] == verdicts({"a": evidence[ORDER[1]]})["a"] != ()


def test_an_output_of_another_shape_has_no_counterpart() -> None:
    watch = Watch(Known({}, frozenset(), {}), {})
    watch.outputs = [Pair("", "", CHANNELS_FIRST)]
    array, like = np.zeros((2, 3, 4)), np.zeros((2, 4, 3))
    assert watch.align(ORDER[5], ORDER[5], array, like) is not None
    assert watch.align(ORDER[5], ORDER[5], array, array) is None
