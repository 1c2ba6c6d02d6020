"""Measured rates, and what a machine can do by them."""

from __future__ import annotations

Rates = dict[str, dict[str, float]]
"""By framework and kind: FLOP/s of "matmul" and "convolution", bytes/s of "memory"."""


def best(*rates: Rates) -> Rates:
    """The best rate of each framework and kind in several measurements, none of which may lack one of the first's."""
    return {name: {kind: max(rate[name][kind] for rate in rates) for kind in kinds} for name, kinds in rates[0].items()}


def machine_rates(rates: Rates) -> dict[str, float]:
    """Of each kind the better framework's rate, which is what the machine can do at the least."""
    kinds = next(iter(rates.values()))
    return {kind: max(framework[kind] for framework in rates.values()) for kind in kinds}
