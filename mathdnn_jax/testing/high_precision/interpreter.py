"""The rules for all supported primitives, in one table."""

from __future__ import annotations

from mathdnn_jax.testing.high_precision import control, elementwise, ordering, solves, structural, sums
from mathdnn_jax.testing.high_precision.integers import integers
from mathdnn_jax.testing.high_precision.machine import Machine, Rules
from mathdnn_jax.testing.high_precision.rounding import Rounding

RULES = Rules(
    neutral={**structural.NEUTRAL, **ordering.NEUTRAL, **control.NEUTRAL},
    real={**elementwise.REAL, **structural.REAL, **sums.REAL, **solves.REAL},
    integers=integers,
)


def machine(digits: int, work: float, rounding: Rounding | None = None) -> Machine:
    """Return a machine with this many digits that may do this much work."""
    return Machine(digits, work, RULES, rounding)
