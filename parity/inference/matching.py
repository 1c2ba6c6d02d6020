"""Matching layers: by shape if only one fits, else by name if all agree, else by order where order is known."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from parity.errors import AmbiguousRulesError, UnmatchedArraysError
from parity.inference.names import by_name, tokens
from parity.inference.ordering import Flow, by_order, listed_by_number, parts_in_order
from parity.inference.units import Unit

Fits = Mapping[str, Sequence[str]]
Pairs = dict[str, tuple[str, str]]
Same = Callable[[str, str], bool]

NAME, ORDER = "the same name", "the same position in the order of computation"


def match(
    targets: Mapping[str, Unit],
    sources: Mapping[str, Unit],
    fits: Fits,
    flow: Flow,
    same: Same,
    chosen: Collection[str],
) -> Pairs:
    """{target: (source, reason)}; `fits` lists the sources that fit each target.

    `same(target, source)` says whether the target already has the values that the source would give it. For the targets
    in `chosen` the caller has said which source it is.

    Raises:
        UnmatchedArraysError: A layer of one side fits none of the other, or the numbers of layers differ.
        AmbiguousRulesError: Several fit, and nothing decides; the message lists the candidates.
    """
    groups = _groups(targets, sources, fits)
    _check_counts(groups, targets, sources)
    pairs: Pairs = {}
    undecided: list[tuple[list[str], list[str]]] = []
    for left, right in groups:
        if len(left) == 1:
            pairs[left[0]] = (right[0], "the only one of its shape")
            continue
        found, rest = _decide([targets[name] for name in left], [sources[name] for name in right], fits, flow, NAME)
        pairs |= found
        for here, there in rest:
            here.sort(key=lambda name: targets[name].position or 0)
            pairs |= (valued := _by_value(here, there, fits, same))
            undecided += [] if valued else [(here, there)]
    if undecided:
        raise AmbiguousRulesError(_undecided(undecided, fits, bool(flow.before)))
    if swapped := [name for name in _swapped(pairs) if name not in chosen and not same(name, pairs[name][0])]:
        raise AmbiguousRulesError(
            f"by their shapes these layers go to layers of each other's names: "
            f"{', '.join(f'{pairs[name][0]} to {name}' for name in swapped)}. Are their weights stored untransposed? "
            "Then say so with layouts={pattern of target paths: 'same'}; else choose with sources={target: source}"
        )
    return pairs


def _swapped(pairs: Pairs) -> list[str]:
    """The targets whose pairs permute a set of names that both sides have.

    Where one side counts from 0 and the other from 1, conv1 goes to conv2 and conv2 to conv3: that is no permutation.
    """
    named = {tokens(target): target for target in pairs}
    found = []
    for start in pairs:
        seen: list[str] = []
        name: str | None = start
        while name is not None and name not in seen:
            seen.append(name)
            name = named.get(tokens(pairs[name][0]))
        if name == start and len(seen) > 1:
            found.append(start)
    return found


def _decide(
    targets: Sequence[Unit], sources: Sequence[Unit], fits: Fits, flow: Flow, reason: str
) -> tuple[Pairs, list[tuple[list[str], list[str]]]]:
    """The pairs that names or order decide, and the groups that remain, each smaller than the whole if names allow.

    `reason` is what has decided about the modules that these layers are in.
    """
    left, right = [unit.name for unit in targets], [unit.name for unit in sources]
    if len(left) == len(right) == 1 and right[0] in fits[left[0]]:
        return {left[0]: (right[0], reason)}, []
    if named := by_name(left, right, fits):
        return {target: (source, reason) for target, source in named.items()}, []
    ordered = by_order(targets, sources, flow)
    if ordered and all(source in fits[target] for target, source in ordered.items()):
        return {target: (source, ORDER) for target, source in ordered.items()}, []
    pairs: Pairs = {}
    rest: list[tuple[list[str], list[str]]] = []
    modules, why = _split(left, right, flow)
    for here, there in modules:
        found, undecided = _decide(
            [unit for unit in targets if unit.name in here],
            [unit for unit in sources if unit.name in there],
            fits,
            flow,
            why or reason,
        )
        pairs |= found
        rest += undecided
    return (pairs, rest) if pairs or rest else ({}, [(left, right)])


def _split(left: Sequence[str], right: Sequence[str], flow: Flow) -> tuple[list[tuple[list[str], list[str]]], str]:
    """The layers in groups by the module that they are in, if these modules have the same names or a known order.

    With the groups comes the reason, or "" if it is the modules' names.
    """
    here, there = _modules(left, "/"), _modules(right, ".")
    if len(here) != len(there) or len(here) < 2:
        return [], ""
    every = {name: list(there) for name in here}
    modules = by_name(list(here), list(there), every)
    numbers = sorted((name for name in there if name.isdecimal()), key=int)
    why = ""
    if not modules and len(numbers) == len(there) and listed_by_number(list(there), numbers):
        modules, why = dict(zip(parts_in_order(here, flow), numbers, strict=False)), ORDER
    groups = [(here[target], there[source]) for target, source in modules.items()]
    return (groups, why) if all(len(a) == len(b) for a, b in groups) else ([], "")


def _modules(names: Sequence[str], separator: str) -> dict[str, list[str]]:
    """The names by the first part in which not all agree."""
    parts = {name: name.split(separator) for name in names}
    shared = 0
    while all(len(own) > shared + 1 for own in parts.values()) and len({own[shared] for own in parts.values()}) == 1:
        shared += 1
    found: dict[str, list[str]] = {}
    for name, own in parts.items():
        found.setdefault(own[shared], []).append(name)
    return found


def _by_value(left: list[str], right: list[str], fits: Fits, same: Same) -> Pairs:
    """The pairs by the values that the tree already has, if each target has those of exactly one source."""
    found = {target: [source for source in right if source in fits[target] and same(target, source)] for target in left}
    chosen = {target: sources[0] for target, sources in found.items() if len(sources) == 1}
    if len(set(chosen.values())) != len(left):
        return {}
    return {target: (source, "the same values") for target, source in chosen.items()}


def _undecided(groups: Sequence[tuple[list[str], list[str]]], fits: Fits, traced: bool) -> str:
    lines = [
        f"{target} may be filled by {', '.join(source for source in right if source in fits[target])}"
        for left, right in groups
        for target in left
    ]
    written = ", ".join(f"{a!r}: {b!r}" for left, right in groups for a, b in zip(left, right, strict=True))
    trace = "" if traced else "Pass apply= and inputs=, which show the order of computation, or "
    return (
        f"{len(lines)} layers have several candidates of their shape, and neither the names nor the order of "
        "computation decide (a state lists layers as they were defined, which need not be how they are computed):\n  "
        + "\n  ".join(lines)
        + f"\n{trace}{'choose' if trace else 'Choose'} with sources={{target: source}}. If the layers listed here "
        f"correspond one by one, that is sources={{{written}}}"
    )


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


def _shapes(unit: Unit) -> str:
    return "{" + ", ".join(f"{role} {shape}" for role, (_, shape) in unit.arrays.items()) + "}"
