"""When the order of computation decides: where PyTorch numbers its layers in that order, and one feeds the next.

The order in which a module defines its layers, which is that of its state, says nothing about the order in which it
computes them. But the numbers of an `nn.Sequential` are those of its computation, and so are the layers and directions
of an RNN. On the other side, only an order by dependency counts: of layers side by side, such as the queries and keys
of an attention or the two factors of a gate, either may be written first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from parity.inference.units import Unit

Place = tuple[int | str, ...]
REVERSE = "reverse"


class Flow(NamedTuple):
    """Of every traced layer: the layers that its input depends on, and whether it reads a sequence in reverse."""

    before: Mapping[str, frozenset[str]]
    turned: Mapping[str, bool]

    def feeds(self, first: str, second: str) -> bool:
        """Whether the second layer depends on the first, and the first not on the second."""
        known = first in self.before and second in self.before
        return known and first in self.before[second] and second not in self.before[first]


def place(unit: Unit) -> Place:
    """The parts of a PyTorch name; the number of a container's entry, or of an RNN's layer, as a number."""
    parts: list[int | str] = [int(part) if part.isdecimal() else part for part in unit.name.split(".")]
    if "weight_ih" in unit.arrays and (match := re.fullmatch(r"l(\d+)(_reverse)?", str(parts[-1]))):
        parts[-1:] = [int(match[1]), REVERSE if match[2] else ""]
    return tuple(parts)


def by_order(targets: Sequence[Unit], sources: Sequence[Unit], flow: Flow) -> dict[str, str]:
    """{target: source} if PyTorch's own numbers order the sources, and dependency orders the targets; else {}."""
    numbered = {unit.name: place(unit) for unit in sources}
    listed = [unit.name for unit in sorted(sources, key=lambda unit: unit.position or 0)]
    if not all(_ordered(a, b) for a in numbered.values() for b in numbered.values() if a is not b):
        return {}
    names = {unit.name for unit in targets}
    if not names <= flow.before.keys():
        return {}
    left = sorted(names, key=lambda name: (len(flow.before[name] & names), flow.turned[name]))
    right = sorted(numbered, key=lambda name: numbered[name])
    if not listed_by_number(listed, right):
        return {}
    for k, first in enumerate(left):
        for j in range(k + 1, len(left)):
            both = numbered[right[k]][-1:], numbered[right[j]][-1:]
            if both == (("",), (REVERSE,)) and numbered[right[k]][:-1] == numbered[right[j]][:-1]:
                followed = flow.turned[left[j]] and not flow.turned[first]
            else:
                followed = flow.feeds(first, left[j])
            if not followed:
                return {}
    return dict(zip(left, right, strict=True))


def listed_by_number(listed: Sequence[str], numbered: Sequence[str]) -> bool:
    """Whether names are listed as a container lists its entries: by number, or, by some writers of files, by name.

    The keys of an `nn.ModuleDict` can be numerals in any order.
    """
    return list(listed) in (list(numbered), sorted(numbered))


def _ordered(first: Place, second: Place) -> bool:
    """Whether two names differ first in a number that PyTorch gave, or only in the direction of an RNN."""
    for a, b in zip(first, second, strict=False):
        if a != b:
            return (isinstance(a, int) and isinstance(b, int)) or {a, b} == {"", REVERSE}
    return False


def parts_in_order(parts: Mapping[str, Sequence[str]], flow: Flow) -> list[str]:
    """The names of groups of layers such that each group feeds all after it; [] if there is no such order."""
    names = sorted(parts, key=lambda name: max((len(flow.before.get(unit, ())) for unit in parts[name]), default=0))
    for k, first in enumerate(names):
        for second in names[k + 1 :]:
            forth = any(flow.feeds(a, b) for a in parts[first] for b in parts[second])
            back = any(flow.feeds(b, a) for a in parts[first] for b in parts[second])
            if back or not forth:
                return []
    return names
