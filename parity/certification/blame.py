"""Where two networks depart: in a layer or between two layers, in the formula or in the arithmetic alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from parity.capture import INPUT, OUTPUT, Place
from parity.certification.comparison import Comparison, real_numbers
from parity.certification.measure import LEAST_FEATURES, Evidence, ordinary
from parity.certification.pairing import bare, kind_of
from parity.certification.verdict import departures, float64_bound, verdict
from parity.certification.watched import CONTAINERS

FLOAT32_ROUNDING = 4 * float(np.finfo(np.float32).eps)
"""What a few roundings to float32 leave, relative to the greatest value."""


class Blame(NamedTuple):
    """The first place where the networks depart, by the names of the PyTorch module.

    `layer` is the layer in which it is, if its inputs agree, else None. `between` are the last place that agrees and
    the first that does not, if it is between two; `modules` are PyTorch's between them, with their classes. `formula`
    says whether the float64 runs depart, so that it is not the arithmetic alone, and `float32` whether they do so by no
    more than float32 rounds. If values are not `finite`, neither can be said.
    """

    place: str
    layer: str | None
    between: tuple[str, str] | None
    modules: tuple[str, ...]
    formula: bool
    float32: bool = False
    finite: bool = True

    def stated(self) -> dict[str, Any]:
        """Return this as a certificate states it."""
        between = None if self.between is None else list(self.between)
        return {**self._asdict(), "between": between, "modules": list(self.modules), "cause": None, "convention": None}


def judged(evidence: Mapping[Place, Evidence]) -> dict[Place, tuple[str, ...]]:
    """Return for every place, in the order of computation, why it fails; inputs do not count as narrow layers."""
    reasons, features = {}, LEAST_FEATURES
    for place, found in evidence.items():
        own = min(features, found.features)
        features = own if place.side == OUTPUT else features
        reasons[place] = verdict(found, own)
    return reasons


def find_blame(comparison: Comparison, kinds: Mapping[str, str]) -> Blame | None:
    """Return where the networks depart first, in float64 if they do there; None if no place departs.

    `kinds` is the class of every submodule of the PyTorch module.
    """
    evidence, pairs = comparison.evidence, comparison.pairs
    bad = [place for place, found in evidence.items() if departures(found)]
    wrong = bool(bad)
    bad = bad or _poor(judged(evidence))
    if not bad:
        return None
    first = evidence[bad[0]]
    formula = wrong and not first.non_finite
    agree = [pairs[place] for place in evidence if place not in bad]
    found = _located(pairs[bad[0]], agree, list(comparison.values.truth), kinds, formula=formula)
    rounded = all(part.float64_max <= FLOAT32_ROUNDING * part.truth_max for part in (first, first.rest))
    return found._replace(float32=formula and rounded, finite=not first.non_finite)


def _poor(reasons: Mapping[Place, tuple[str, ...]]) -> list[Place]:
    """Return the first output that fails, after those inputs before it, since the output before that, that fail too."""
    found: list[Place] = []
    for place, why in reasons.items():
        if why:
            found.append(place)
        if place.side == OUTPUT:
            if why:
                return found
            found = []
    return []


def first_departure(
    comparison: Comparison,
    recorded: Mapping[Place, np.ndarray],
    align: Callable[[Place, Place, np.ndarray, np.ndarray], np.ndarray | None],
) -> tuple[int, str, str] | None:
    """Compare JAX's float64 run with any recording of PyTorch's float64 run on the same batch.

    Args:
        comparison: that of the networks as they are, which says how far float64 runs may be apart.
        recorded: what PyTorch's layers take and return.
        align: as in `Networks`, but None where the shapes do not fit.

    Returns:
        The first place where they depart: its index in the order of computation, PyTorch's name of the layer ("" for
        the network itself), and "input" or "output"; None if they agree everywhere.
    """
    for index, (place, evidence) in enumerate(comparison.evidence.items()):
        other, jax64 = comparison.pairs[place], comparison.values.jax64[place]
        array = align(place, other, recorded[other], jax64) if other in recorded else None
        if array is None or not _agree(real_numbers(array), real_numbers(jax64), evidence):
            return index, other.layer, other.side
    return None


def _agree(truth: np.ndarray, jax64: np.ndarray, evidence: Evidence) -> bool:
    same = np.isinf(truth) & (jax64 == truth)
    truth, jax64 = np.where(same, 0, truth), np.where(same, 0, jax64)
    difference, size = np.abs(jax64 - truth), np.abs(truth)
    kept = ordinary(truth)
    # False if a value is NaN or infinite: then so is a side of the comparison.
    return all(
        float(difference[part].max(initial=0.0)) <= float64_bound(torch_max, float(size[part].max(initial=0.0)))
        for part, torch_max in ((..., evidence.torch_max), (kept, evidence.rest.torch_max))
    )


def _located(
    target: Place, agree: Iterable[Place], order: list[Place], kinds: Mapping[str, str], *, formula: bool
) -> Blame:
    """Find the last place before the target that agrees, and what PyTorch calls between the two."""
    position = {place: k for k, place in enumerate(order)}
    before = [place for place in agree if place.layer and position[place] < position[target]]
    start = max(before, key=position.__getitem__, default=None)
    if start is not None and (start.layer, start.side, target.side) == (target.layer, INPUT, OUTPUT):
        return Blame(f"in {_described(target.layer, kinds)}", target.layer, None, (), formula)
    first = 0 if start is None else position[start] + 1
    ended = dict.fromkeys(place.layer for place in order[first : position[target] + 1] if place.side == OUTPUT)
    block = any(place.layer.startswith(f"{bare(target.layer)}.") for place in order[: position[target]])
    silent = {"", *(name for name in ended if kind_of(kinds, name) in CONTAINERS)}
    silent |= {target.layer} if block else set()
    modules = tuple(_described(name, kinds) for name in ended if name not in silent)
    between = _start(start), _end(target, block)
    return Blame(f"between {between[0]} and {between[1]}", None, between, modules, formula)


def _start(place: Place | None) -> str:
    if place is None:
        return "the inputs"
    return str(place) if place.side == OUTPUT else f"the beginning of {place.layer}"


def _end(place: Place, block: bool) -> str:
    if not place.layer:
        return str(place) if place.path else f"the {place}"
    return f"the end of {place.layer}" if block and place.side == OUTPUT else place.layer


def _described(call: str, kinds: Mapping[str, str]) -> str:
    kind = kind_of(kinds, call)
    return f"{call} ({kind})" if kind else call
