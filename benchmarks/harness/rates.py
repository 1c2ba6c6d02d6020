"""Measured rates, and the rates of the machine that follow from them."""

from __future__ import annotations

Rates = dict[str, dict[str, float]]
"""Rates by framework and kind: FLOP/s of "matmul" and "convolution", bytes/s of "memory"."""


def best(*rates: Rates) -> Rates:
    """Return the best rate of each framework and kind in several measurements; all must have the kinds of the first."""
    return {name: {kind: max(rate[name][kind] for rate in rates) for kind in kinds} for name, kinds in rates[0].items()}


def machine_rates(rates: Rates) -> dict[str, float]:
    """Return the better framework's rate of each kind, which is a lower bound of what the machine can do."""
    kinds = next(iter(rates.values()))
    return {kind: max(framework[kind] for framework in rates.values()) for kind in kinds}
