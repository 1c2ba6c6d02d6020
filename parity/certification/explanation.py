"""The likely cause of a departure in float64, of two networks that have been compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from parity.capture import Place
from parity.certification.blame import Blame, first_departure
from parity.certification.comparison import Batch, Comparison, Networks, real_numbers, widened_array
from parity.certification.networks import Watch


def explained(
    blame: Blame | None, comparison: Comparison, networks: Networks, watch: Watch, batch: Batch
) -> dict[str, Any] | None:
    """Return what a certificate states of the blame, with the likely cause if the formulas depart for a known one."""
    if blame is None:
        return None
    stated = blame.stated()
    if not blame.formula:
        return stated
    # It runs PyTorch's network, and is only needed where something is wrong.
    from parity.certification.causes import likely_cause

    def run() -> Mapping[Place, np.ndarray]:
        return networks.torch_layers(networks.double, *map(widened_array, batch.torch))

    def departs(recorded: Mapping[Place, np.ndarray]) -> tuple[int, str, str] | None:
        return first_departure(comparison, recorded, watch.align)

    def difference(recorded: Mapping[Place, np.ndarray], departure: tuple[int, str, str]) -> np.ndarray | None:
        place = list(comparison.evidence)[departure[0]]
        other, jax64 = comparison.pairs[place], comparison.values.jax64[place]
        array = watch.align(place, other, recorded[other], jax64) if other in recorded else None
        return None if array is None else real_numbers(jax64) - real_numbers(array)

    cause = likely_cause(networks.double, run, departs, difference)
    return stated if cause is None else {**stated, "cause": cause.text, "convention": cause.convention}
