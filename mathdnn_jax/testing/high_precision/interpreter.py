"""The rules for all supported primitives, in one table."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from mathdnn_jax.testing.high_precision import control, elementwise, ordering, solves, structural, sums
from mathdnn_jax.testing.high_precision.integers import integers
from mathdnn_jax.testing.high_precision.machine import Machine, Rules
from mathdnn_jax.testing.high_precision.numbers import UnresolvedError
from mathdnn_jax.testing.high_precision.rounding import Rounding

RULES = Rules(
    neutral={**structural.NEUTRAL, **ordering.NEUTRAL, **control.NEUTRAL},
    real={**elementwise.REAL, **structural.REAL, **sums.REAL, **solves.REAL},
    integers=integers,
)


def machine(digits: int, work: float, rounding: Rounding | None = None) -> Machine:
    """Return a machine with this many digits that may do this much work."""
    return Machine(digits, work, RULES, rounding)


@contextlib.contextmanager
def following(used: Machine, spend: Callable[[float], None]) -> Iterator[None]:
    """Evaluate somebody's program on a machine, and tell `spend` the work that it took, however it ends.

    Raises:
        UnresolvedError: whatever is raised inside. The interpreter must not fail on other people's programs; all that
            it can say is that it found nothing out.
    """
    work = used.work
    try:
        yield
    except UnresolvedError:
        raise
    except Exception as error:
        raise UnresolvedError(f"high precision failed: {type(error).__name__}: {error}") from error
    finally:
        spend(work - used.work)
