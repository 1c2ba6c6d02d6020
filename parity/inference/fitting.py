"""The candidate rules by which one layer of a PyTorch state can fill one layer of a tree: none, one, or several."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from parity.inference.attention import attention_rules
from parity.inference.recurrent import cell_rules, gate_rules
from parity.inference.roles import BIAS, COUNT, MEAN, SIDES, VAR, WEIGHT
from parity.inference.structure import Use
from parity.inference.units import Unit
from parity.rules.layouts import LAYOUTS, Shape
from parity.rules.table import Rule

Candidate = tuple[Rule, ...]
Layouts = Iterator[tuple[str, dict[str, int]]]
REPARAMETRIZED = {"weight_norm": ("g", "v"), "spectral_norm": ("orig", "u", "v")}
"""The roles of the arrays from which PyTorch makes a weight, in the order in which a rule names them."""
FIRST_AXIS = {"linear": -1, "flattened": -1, "convolution": -1, "transposed_convolution": -2, "same": 0}
"""The axis of a kernel that is the first axis of PyTorch's weight."""


class Evidence(NamedTuple):
    """What is known about a network besides the shapes of its layers.

    `uses` comes from its trace. `images` are the possible channel counts of a flattened image, if the trace does not
    say. `chosen` are the caller's layouts by target path, and `mixed` says that by these the state keeps some weights
    as JAX does, untransposed, so that of a square one nothing is known.
    """

    uses: Mapping[str, Use]
    images: frozenset[int] = frozenset()
    chosen: Mapping[str, tuple[str, Mapping[str, int]]] = {}
    mixed: bool = False


def candidates(target: Unit, source: Unit, evidence: Evidence) -> list[Candidate]:
    """All ways in which the source's arrays can fill the target's, each with a rule for every array."""
    if any("." in role for role in target.arrays):
        return [candidate] if (candidate := _composite(target, source)) else []
    for combine, roles in REPARAMETRIZED.items():
        if source.roles - {BIAS} == set(roles) and "g" not in target.roles:
            return [
                _combined(rules, source, combine) for rules in _plain(target, _as_weight(source, combine), evidence)
            ]
    return [candidate for candidate in _plain(target, source, evidence) if _scale_fits(candidate, target, evidence)]


def _as_weight(source: Unit, combine: str) -> Unit:
    """The layer with the array that has the weight's shape as its weight."""
    roles = REPARAMETRIZED[combine]
    kept = {role: array for role, array in source.arrays.items() if role not in roles}
    return source._replace(arrays={**kept, WEIGHT: source.arrays["v" if combine == "weight_norm" else "orig"]})


def _combined(rules: Candidate, source: Unit, combine: str) -> Candidate:
    keys = tuple(source.arrays[role][0] for role in REPARAMETRIZED[combine])
    return tuple(rule._replace(sources=keys, combine=combine) if rule.sources[0] in keys else rule for rule in rules)


def _plain(target: Unit, source: Unit, evidence: Evidence) -> Iterator[Candidate]:
    if target.roles != source.roles or (COUNT in target.arrays and COUNT not in source.arrays):
        return
    choices = []
    for role, (path, shape) in target.arrays.items():
        key, given = source.arrays[role]
        found = [
            (layout, options)
            for layout, options in _layouts(role, path, shape, given, evidence)
            if LAYOUTS[layout].source_shape(shape, options) == given
        ]
        if path in evidence.chosen:
            found = _chosen(*evidence.chosen[path], shape, given, found) or found
        choices.append([Rule((key,), path, layout, options) for layout, options in found])
    yield from itertools.product(*choices)


def _chosen(
    name: str, options: Mapping[str, int], shape: Shape, given: Shape, found: list[tuple[str, dict[str, int]]]
) -> list[tuple[str, dict[str, int]]]:
    """The caller's layout, with its options or with those that were found; [] if it does not fit this source."""
    named = [(layout, own) for layout, own in found if layout == name and (not options or own == options)]
    whole = options.keys() == set(LAYOUTS[name].options)
    return named or ([(name, dict(options))] if whole and LAYOUTS[name].source_shape(shape, options) == given else [])


def _layouts(role: str, path: str, shape: Shape, given: Shape, evidence: Evidence) -> Layouts:
    use, leaf = evidence.uses.get(path), path.rpartition("/")[2]
    ones = {"count": max(1, len(given) - len(shape))}
    if role == COUNT:
        yield "counter", {}
    elif role in (BIAS, MEAN, VAR) and not (role == BIAS and len(shape) == 2):
        yield "same", {}
    elif role == BIAS:
        yield "heads_bias", {}
    elif role == "g":
        yield "trailing_ones", ones
    elif role == "array" and leaf != "kernel":
        yield "same", {}
        if len(shape) == 2 and (use is None or use.kind in ("linear", "linear_untransposed", "unknown")):
            # A parameter that a module multiplies by itself has no convention.
            yield "linear", {}
        yield "trailing_ones", ones
        yield "leading_ones", ones
    elif leaf == "negative_slope" and not shape:
        yield "trailing_ones", {"count": 1}
    elif leaf in ("embedding", "scale") or len(shape) < 2 or (use and use.kind in ("lookup", "linear_untransposed")):
        yield "same", {}
    elif len(shape) == 3 and len(given) == 2:
        yield from (("heads_in", {}), ("heads_out", {})) if use is None else _heads(use)
    elif len(shape) == 2 and len(given) > 2:
        yield "pointwise", {"count": len(given) - 2}
    elif len(shape) == 2:
        yield from _dense(leaf, shape, use, evidence)
    else:
        yield from _convolution(shape, given, use)


def _heads(use: Use) -> Layouts:
    """The one axis of a query's input is contracted, and both axes of the heads before an output."""
    if use.contracted != {0, 1}:
        yield "heads_in", {}
    if use.contracted != {0}:
        yield "heads_out", {}


def _dense(leaf: str, shape: Shape, use: Use | None, evidence: Evidence) -> Layouts:
    if use is not None and use.kind == "linear" and use.flat is not None:
        channels, last = use.flat
        # With a single channel or a single pixel, both orders are the same.
        moved = last and 1 < channels < shape[0] and shape[0] % channels == 0
        yield ("flattened", {"channels": channels}) if moved else ("linear", {})
    else:
        yield "linear", {}
        for channels in sorted(evidence.images):
            if 1 < channels < shape[0] and shape[0] % channels == 0:
                yield "flattened", {"channels": channels}
    # What is not seen in a product may be a matrix of either orientation, unless Flax calls it a kernel.
    known = leaf == "kernel" if use is None else use.kind == "linear"
    if evidence.mixed or not known:
        yield "same", {}


def _convolution(shape: Shape, given: Shape, use: Use | None) -> Layouts:
    kind = use.kind if use is not None else "convolution?"
    if kind in ("convolution", "convolution?", "unknown", "other"):
        yield "convolution", {}
    if kind in ("transposed_convolution", "convolution?", "unknown", "other"):
        groups = [use.groups] if use is not None and kind != "unknown" else _groups(shape, given)
        for count in groups:
            yield "transposed_convolution", {"groups": count}


def _groups(shape: Shape, given: Shape) -> list[int]:
    """The number of groups of a transposed convolution, from its shapes: I of the source over I/G of the target."""
    return [given[0] // shape[-2]] if len(given) == len(shape) and given[0] % shape[-2] == 0 else []


def _scale_fits(candidate: Candidate, target: Unit, evidence: Evidence) -> bool:
    """Whether the scale of a weight norm goes along the kernel's axis that is the first one of PyTorch's weight."""
    if "g" not in target.arrays:
        return True
    (scale, (length,)), (kernel, shape) = target.arrays["g"], target.arrays["v"]
    layout = next(rule.layout for rule in candidate if rule.target == kernel)
    axis = FIRST_AXIS.get(layout)
    use = evidence.uses.get(scale)
    known = use is None or use.along is None or use.along == (kernel, (axis or 0) % len(shape))
    return axis is not None and known and shape[axis] == length


def _composite(target: Unit, source: Unit) -> Candidate:
    """An attention or a cell of an RNN, whose arrays PyTorch stacks along the first axis; () if it does not fit."""
    if {"query.weight", "out.weight"} <= set(target.arrays):
        rules = attention_rules(target, source)
    elif any({f"{side}.weight" for side in sides} <= set(target.arrays) for sides in SIDES):
        rules = cell_rules(target, source)
    else:
        rules = gate_rules(target, source)
    if {rule.target for rule in rules} != {path for path, _ in target.arrays.values()}:
        return ()
    shapes = dict(target.arrays.values())
    given = dict(source.arrays.values())
    for rule in rules:
        inner = LAYOUTS[rule.layout].source_shape(shapes[rule.target], rule.options)
        if inner is None or any(given[key] != (inner[0] * rule.part[1], *inner[1:]) for key in rule.sources):
            return ()
    return tuple(rules)
