"""Attentions whose queries, keys and values PyTorch computes by one product: found in a state, and split by rules.

`nn.MultiheadAttention` stacks the three weights in `in_proj_weight`. A layer of a user's own, such as `qkv` beside
`proj`, is one `nn.Linear` with three times as many outputs, which `chunk(3)` takes apart. Three layers `q`, `k` and `v`
need nothing of this: each is a layer on either side.
"""

from __future__ import annotations

from collections.abc import Mapping

from parity.inference.names import roles, tokens
from parity.inference.roles import BIAS, WEIGHT
from parity.inference.units import Unit
from parity.rules.table import Rule

FUSED = ("qkv", "wqkv", "toqkv", "qkvproj", "inproj", "cattn")
"""Names by which thirds are queries, keys and values; `query_key_value` has them head by head in GPT-NeoX and BLOOM."""
PARTS = ("query", "key", "value")


def with_fused(units: Mapping[str, Unit], attentions: int) -> dict[str, Unit]:
    """The layers of a state, with each fused product and its output joined into one, if these are all the attentions.

    `attentions` are those of the tree, which has them with an axis for the heads.
    """
    joined: dict[str, Unit] = {}
    outputs = {}
    for name, unit in units.items():
        parent, _, last = name.rpartition(".")
        if "".join(tokens(last)) in FUSED and unit.roles <= {WEIGHT, BIAS} and (out := _output(units, name)):
            arrays = {f"in_{role}": array for role, array in unit.arrays.items()}
            arrays |= {f"out_{role}": array for role, array in units[out].arrays.items()}
            joined[name] = Unit(parent, arrays, unit.position)
            outputs[out] = name
    left = [joined.get(name, unit) for name, unit in units.items() if name not in outputs]
    whole = {unit.name: unit for unit in left}
    return whole if count_fused(whole) == attentions and len(whole) == len(left) else dict(units)


def count_fused(units: Mapping[str, Unit]) -> int:
    """The number of layers that are an attention as a whole."""
    return sum("out_weight" in unit.arrays for unit in units.values())


def attention_rules(target: Unit, source: Unit) -> list[Rule]:
    """The rules that split a fused attention; [] if the source is none."""
    if "out_weight" not in source.arrays:
        return []
    rules = []
    for role, (path, _) in target.arrays.items():
        part, kind = role.split(".")
        own = f"{part}_{kind}" in source.arrays
        name = f"{part}_{kind}" if own else f"in_{kind}"
        if name not in source.arrays:
            return []
        layout = {"out": "heads_out"}.get(part, "heads_in") if kind == WEIGHT else "heads_bias"
        layout = "same" if (part, kind) == ("out", BIAS) else layout
        third = (0, 1) if own else (PARTS.index(part), 3)
        rules.append(Rule((source.arrays[name][0],), path, layout, part=third))
    return rules


def _output(units: Mapping[str, Unit], fused: str) -> str:
    """The layer beside a fused product that is the attention's output by its name, or ""."""
    parent, _, _ = fused.rpartition(".")
    start = f"{parent}." if parent else ""
    rows, _ = units[fused].arrays[WEIGHT][1] if len(units[fused].arrays[WEIGHT][1]) == 2 else (0, 0)
    found = [
        name
        for name, unit in units.items()
        if name.startswith(start)
        and name != fused
        and roles(name.removeprefix(start).removesuffix(".0")) == ("out",)
        and unit.roles <= {WEIGHT, BIAS}
        and unit.arrays[WEIGHT][1][1:] == (rows // 3,)
    ]
    return found[0] if len(found) == 1 and rows % 3 == 0 else ""
