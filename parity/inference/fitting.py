"""The candidate rules by which one layer of a PyTorch state can fill one layer of a tree: none, one, or several."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from parity.inference.structure import Use
from parity.inference.units import BIAS, COUNT, GATES, MEAN, SIDES, VAR, WEIGHT, Unit
from parity.rules.layouts import LAYOUTS, Shape
from parity.rules.table import Rule

Candidate = tuple[Rule, ...]
Uses = Mapping[str, Use]


def candidates(target: Unit, source: Unit, uses: Uses, images: set[int]) -> list[Candidate]:
    """All ways in which the source's arrays can fill the target's, each with a rule for every array.

    `images` are the possible channel counts of a flattened image, if the structure does not determine them.
    """
    if any("." in role for role in target.arrays):
        return [candidate] if (candidate := _composite(target, source)) else []
    if source.roles >= {"g", "v"}:
        return [
            tuple(_weight_norm(rule, source) for rule in candidate)
            for candidate in _plain(target, _without_pair(source), uses, images)
        ]
    return list(_plain(target, source, uses, images))


def _plain(target: Unit, source: Unit, uses: Uses, images: set[int]) -> Iterator[Candidate]:
    if target.roles != source.roles or (COUNT in target.arrays and COUNT not in source.arrays):
        return
    choices = []
    for role, (path, shape) in target.arrays.items():
        key, given = source.arrays[role]
        fitting = [
            Rule((key,), path, layout, options)
            for layout, options in _layouts(role, path, shape, given, uses, images)
            if LAYOUTS[layout].source_shape(shape, options) == given
        ]
        choices.append(fitting)
    yield from itertools.product(*choices)


def _layouts(
    role: str, path: str, shape: Shape, given: Shape, uses: Uses, images: set[int]
) -> Iterator[tuple[str, dict[str, int]]]:
    use, leaf = uses.get(path), path.rpartition("/")[2]
    if role == COUNT:
        yield "counter", {}
    elif role in (BIAS, MEAN, VAR) and not (role == BIAS and len(shape) == 2):
        yield "same", {}
    elif role == BIAS:
        yield "heads_bias", {}
    elif role == "array":
        yield "same", {}
        yield "trailing_ones", {"count": max(1, len(given) - len(shape))}
        yield "leading_ones", {"count": max(1, len(given) - len(shape))}
    elif leaf == "negative_slope" and not shape:
        yield "trailing_ones", {"count": 1}
    elif leaf == "embedding" or len(shape) < 2 or (use is not None and use.kind in ("lookup", "linear_untransposed")):
        yield "same", {}
    elif len(shape) == 3 and len(given) == 2:
        yield "heads_in", {}
        yield "heads_out", {}
    elif len(shape) == 2:
        yield from _dense(shape, use, images)
    else:
        yield from _convolution(shape, given, use)


def _dense(shape: Shape, use: Use | None, images: set[int]) -> Iterator[tuple[str, dict[str, int]]]:
    if use is not None and use.kind == "other":
        yield "same", {}
        return
    if use is not None and use.flat is not None:
        channels, last = use.flat
        # With a single channel or a single pixel, both orders are the same.
        moved = last and 1 < channels < shape[0] and shape[0] % channels == 0
        yield ("flattened", {"channels": channels}) if moved else ("linear", {})
        return
    yield "linear", {}
    if use is None or use.kind == "linear":
        for channels in sorted(images):
            if 1 < channels < shape[0] and shape[0] % channels == 0:
                yield "flattened", {"channels": channels}


def _convolution(shape: Shape, given: Shape, use: Use | None) -> Iterator[tuple[str, dict[str, int]]]:
    kind = use.kind if use is not None else "convolution?"
    if kind in ("convolution", "convolution?"):
        yield "convolution", {}
    if kind in ("transposed_convolution", "convolution?"):
        groups = [use.groups] if use is not None else _groups(shape, given)
        for count in groups:
            yield "transposed_convolution", {"groups": count}


def _groups(shape: Shape, given: Shape) -> list[int]:
    """The number of groups of a transposed convolution, from its shapes: I of the source over I/G of the target."""
    return [given[0] // shape[-2]] if len(given) == len(shape) and given[0] % shape[-2] == 0 else []


def _without_pair(source: Unit) -> Unit:
    arrays = {role: array for role, array in source.arrays.items() if role not in ("g", "v")}
    return source._replace(arrays={**arrays, WEIGHT: source.arrays["v"]})


def _weight_norm(rule: Rule, source: Unit) -> Rule:
    g, v = source.arrays["g"][0], source.arrays["v"][0]
    return rule._replace(sources=(g, v), combine="weight_norm") if rule.sources == (v,) else rule


def _composite(target: Unit, source: Unit) -> Candidate | None:
    """An attention layer or an RNN cell, whose arrays PyTorch stacks along the first axis."""
    if {"query.weight", "out.weight"} <= set(target.arrays):
        candidate = _attention(target, source)
    elif any({f"{side}.weight" for side in sides} <= set(target.arrays) for sides in SIDES):
        candidate = _cell(target, source)
    else:
        kind = "lstm" if any(role.startswith("ig") for role in target.arrays) else "gru"
        candidate = _rnn(target, source, kind)
    if candidate is None or {rule.target for rule in candidate} != {path for path, _ in target.arrays.values()}:
        return None
    shapes = dict(target.arrays.values())
    given = dict(source.arrays.values())
    for rule in candidate:
        inner = LAYOUTS[rule.layout].source_shape(shapes[rule.target], rule.options)
        if inner is None or any(given[key] != (inner[0] * rule.part[1], *inner[1:]) for key in rule.sources):
            return None
    return candidate


def _attention(target: Unit, source: Unit) -> Candidate | None:
    if source.roles - {"in_bias", "out_bias"} != {"in_weight", "out_weight"}:
        return None
    rules = []
    for role, (path, _) in target.arrays.items():
        part, kind = role.split(".")
        side = "out" if part == "out" else "in"
        if f"{side}_{kind}" not in source.arrays:
            return None
        k = (0, 1) if side == "out" else (("query", "key", "value").index(part), 3)
        layout = ("same" if side == "out" else "heads_bias") if kind == BIAS else f"heads_{side}"
        rules.append(Rule((source.arrays[f"{side}_{kind}"][0],), path, layout, part=k))
    return tuple(rules)


def _cell(target: Unit, source: Unit) -> Candidate | None:
    """A cell that stacks its gates in PyTorch's order, but has a single bias."""
    if source.roles != {"weight_ih", "weight_hh", "bias_ih", "bias_hh"}:
        return None
    rules = []
    for role, (path, _) in target.arrays.items():
        part, what = role.split(".")
        names = ("bias_ih", "bias_hh") if what == BIAS else (f"weight_{part[-1]}h",)
        keys = tuple(source.arrays[name][0] for name in names)
        layout, joined = ("same", "sum") if what == BIAS else ("linear", "")
        rules.append(Rule(keys, path, layout, combine=joined))
    return tuple(rules)


def _rnn(target: Unit, source: Unit, kind: str) -> Candidate | None:
    gates = GATES[kind]
    biases = {"bias_ih", "bias_hh"}
    if source.roles != {"weight_ih", "weight_hh", *biases}:
        return None
    rules = []
    for role, (path, _) in target.arrays.items():
        part, what = role.split(".")
        k = (gates.index(part[1]), len(gates))
        if what == WEIGHT:
            rules.append(Rule((source.arrays[f"weight_{part[0]}h"][0],), path, "linear", part=k))
            continue
        # The two biases of the GRU's new gate are on either side of the reset; all others are only added.
        both = ("bias_ih", "bias_hh") if (kind, part[1]) != ("gru", "n") else (f"bias_{part[0]}h",)
        keys = tuple(source.arrays[name][0] for name in both)
        rules.append(Rule(keys, path, "same", part=k, combine="sum" if len(keys) == 2 else ""))
    return tuple(rules)
