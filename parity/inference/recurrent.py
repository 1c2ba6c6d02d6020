"""The rules of an RNN's cell, whose gates PyTorch stacks along the first axis and Flax may keep apart."""

from __future__ import annotations

from parity.inference.roles import BIAS, GATES, WEIGHT
from parity.inference.units import Unit
from parity.rules.table import Rule

SOURCES = {"weight_ih", "weight_hh", "bias_ih", "bias_hh"}


def cell_rules(target: Unit, source: Unit) -> list[Rule]:
    """The rules of a cell that stacks its gates in PyTorch's order, but has a single bias; [] if there are none."""
    if source.roles != SOURCES:
        return []
    rules = []
    for role, (path, _) in target.arrays.items():
        part, what = role.split(".")
        names = ("bias_ih", "bias_hh") if what == BIAS else (f"weight_{part[-1]}h",)
        keys = tuple(source.arrays[name][0] for name in names)
        layout, joined = ("same", "sum") if what == BIAS else ("linear", "")
        rules.append(Rule(keys, path, layout, combine=joined))
    return rules


def gate_rules(target: Unit, source: Unit) -> list[Rule]:
    """The rules of an LSTM or a GRU that has a product for every gate; [] if there are none."""
    kind = "lstm" if any(role.startswith("ig") for role in target.arrays) else "gru"
    gates = GATES[kind]
    if source.roles != SOURCES:
        return []
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
    return rules
