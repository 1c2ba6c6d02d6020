"""Which layers of PyTorch's were not compared one by one: none is left out without a word."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet

from parity.capture import OUTPUT, Place
from parity.certification.pairing import bare, kind_of

CONTAINERS = ("Sequential", "ModuleList", "ModuleDict")
"""PyTorch modules that compute nothing but what their parts compute."""


def unwatched(recorded: Collection[Place], compared: Collection[Place], owners: AbstractSet[str]) -> list[str]:
    """Return the calls of layers with weights whose outputs were not compared, and such layers that were not called."""
    called = {bare(place.layer) for place in recorded}
    missing = [place for place in recorded if place.side == OUTPUT and place not in compared]
    return sorted({*(str(place) for place in missing if bare(place.layer) in owners), *(owners - called)})


def left_out(
    recorded: Iterable[Place], compared: Collection[Place], owners: Collection[str], kinds: Mapping[str, str]
) -> list[str]:
    """Return the calls of layers without weights whose outputs were not compared, in the order of computation."""
    missing = [place.layer for place in recorded if place.side == OUTPUT and place.layer and place not in compared]
    return [
        call for call in dict.fromkeys(missing) if bare(call) not in owners and kind_of(kinds, call) not in CONTAINERS
    ]
