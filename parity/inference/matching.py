"""Matching layers: by shape if only one fits, else by name if all agree, else by the order of computation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from parity.errors import AmbiguousRulesError, UnmatchedArraysError
from parity.inference.names import by_name, tokens
from parity.inference.units import Unit

Fits = Mapping[str, Sequence[str]]


def match(targets: Mapping[str, Unit], sources: Mapping[str, Unit], fits: Fits) -> dict[str, tuple[str, str]]:
    """{target: (source, reason)}; `fits` lists the sources that fit each target.

    Raises:
        UnmatchedArraysError: A layer of one side fits none of the other, or the numbers of layers differ.
        AmbiguousRulesError: Several fit, and neither names nor the order decide; the message lists the candidates.
    """
    groups = _groups(targets, sources, fits)
    _check_counts(groups, targets, sources)
    pairs: dict[str, tuple[str, str]] = {}
    undecided = []
    for left, right in groups:
        if len(left) == 1:
            pairs[left[0]] = (right[0], "the only one of its shape")
        elif named := by_name(left, right, fits):
            pairs |= {target: (source, "the same name") for target, source in named.items()}
        else:
            undecided.append((left, right))
    for left, right in undecided:
        ordered = _by_order([targets[name] for name in left], [sources[name] for name in right], fits)
        pairs |= {
            target: (source, "the same position in the order of computation") for target, source in ordered.items()
        }
    unsure = {name for left, _ in undecided for name in left if name not in pairs}
    if undecided and not unsure and not _monotone(pairs, targets, sources):
        unsure = {name for left, _ in undecided for name in left}
    if unsure:
        lines = [f"{name} may be filled by {', '.join(fits[name])}" for name in targets if name in unsure]
        raise AmbiguousRulesError(
            f"{len(unsure)} layers have several candidates of their shape, and neither the names nor the order of "
            f"computation decide:\n  " + "\n  ".join(lines) + "\nPass apply= and inputs=, which show the order of "
            "computation, or choose with sources={target: source}"
        )
    return pairs


def _groups(targets: Mapping[str, Unit], sources: Mapping[str, Unit], fits: Fits) -> list[tuple[list[str], list[str]]]:
    """The connected groups of targets and sources that fit each other."""
    groups, left = [], dict.fromkeys(targets)
    seen: set[str] = set()
    while left:
        first = next(iter(left))
        names, found, pending = [], dict[str, None](), [first]
        while pending:
            name = pending.pop()
            if name not in left:
                continue
            del left[name]
            names.append(name)
            found.update(dict.fromkeys(fits[name]))
            pending += [other for other in left if set(fits[other]) & found.keys()]
        groups.append((sorted(names, key=list(targets).index), sorted(found, key=list(sources).index)))
        seen |= found.keys()
    alone = [name for name in sources if name not in seen]
    return [*groups, *(([], [name]) for name in alone)]


def _check_counts(
    groups: Sequence[tuple[list[str], list[str]]], targets: Mapping[str, Unit], sources: Mapping[str, Unit]
) -> None:
    lines = []
    for left, right in groups:
        if len(left) == len(right):
            continue
        here = ", ".join(f"{name} {_shapes(targets[name])}" for name in left) or "nothing"
        there = ", ".join(f"{name} {_shapes(sources[name])}" for name in right) or "nothing"
        lines.append(f"target {here} against source {there}{_namesake(left, right, targets, sources)}")
    if lines:
        raise UnmatchedArraysError(
            "layers of one side fit none of the other, or too many:\n  " + "\n  ".join(lines) + "\nTo leave a source "
            "out, pass ignore=[...]; a layer that fits nothing differs in its sizes, its bias, or its kind"
        )


def _namesake(left: list[str], right: list[str], targets: Mapping[str, Unit], sources: Mapping[str, Unit]) -> str:
    """The layer of the other side with the same name, if the shapes prevent a match."""
    words = {tokens(name) for name in left + right}
    others = [u for u in (sources if left and not right else targets).values() if tokens(u.name) in words]
    return "".join(f" (the other side's {unit.name} has {_shapes(unit)})" for unit in others if not (left and right))


def _by_order(targets: Sequence[Unit], sources: Sequence[Unit], fits: Fits) -> dict[str, str]:
    if any(unit.position is None for unit in targets):
        return {}
    left = sorted(targets, key=lambda unit: unit.position or 0)
    right = sorted(sources, key=lambda unit: unit.position or 0)
    pairs = {target.name: source.name for target, source in zip(left, right, strict=True)}
    return pairs if all(source in fits[target] for target, source in pairs.items()) else {}


def _monotone(pairs: Mapping[str, tuple[str, str]], targets: Mapping[str, Unit], sources: Mapping[str, Unit]) -> bool:
    """Whether the whole state is in the order of computation: only then is the order meaningful."""
    known = [
        (targets[t].position, sources[s].position or 0)
        for t, (s, _) in pairs.items()
        if targets[t].position is not None
    ]
    positions = [position for _, position in sorted(known)]
    return all(a < b for a, b in pairwise(positions))


def _shapes(unit: Unit) -> str:
    return "{" + ", ".join(f"{role} {shape}" for role, (_, shape) in unit.arrays.items()) + "}"
