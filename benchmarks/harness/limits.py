"""The rates that this machine reaches in either framework, which bound those of any network of such layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from benchmarks.frameworks import on_jax, on_torch
from benchmarks.harness.rates import Rates
from benchmarks.harness.timing import interleaved

REPEAT = 7


class Sizes(NamedTuple):
    """Side of the matrices; images, their side and channels of the convolution; count of the copied numbers."""

    matmul: int
    convolution: tuple[int, int, int]
    copied: int


CPU = Sizes(2048, (32, 56, 64), 2**26)
GPU = Sizes(12288, (512, 56, 256), 2**30)
"""Each takes at least milliseconds, one or two percent of which are launching it and waiting for it."""
QUICK = Sizes(128, (1, 8, 8), 2**16)


class Limit(NamedTuple):
    """One kind of work, compiled and warm in either framework, and the FLOPs or bytes of one run."""

    amount: float
    runs: Mapping[str, Callable[[], object]]


def prepare_limits(sizes: Sizes, precision: str) -> dict[str, Limit]:
    """Prepare large products and convolutions in this precision, and a pass over memory, in either framework."""
    batch, side, channels = sizes.convolution
    return {
        "matmul": Limit(
            2 * sizes.matmul**3,
            {"jax": on_jax.matmul(sizes.matmul, precision), "torch": on_torch.matmul(sizes.matmul, precision)},
        ),
        "convolution": Limit(
            2 * batch * (3 * side - 2) ** 2 * channels**2,  # at the border, part of the kernel meets zeros
            {
                "jax": on_jax.convolution(batch, side, channels, precision),
                "torch": on_torch.convolution(batch, side, channels, precision),
            },
        ),
        "memory": Limit(8 * sizes.copied, {"jax": on_jax.copy(sizes.copied), "torch": on_torch.copy(sizes.copied)}),
    }


def measure_limits(limits: Mapping[str, Limit], repeat: int = REPEAT) -> Rates:
    """Return, for each framework and kind, the rate of the best of `repeat` runs.

    The best is taken, not the median, because a disturbance makes a run slower, never faster.
    """
    rates: Rates = {}
    for kind, limit in limits.items():
        for name, times in interleaved(limit.runs, repeat).items():
            rates.setdefault(name, {})[kind] = limit.amount / min(times)
    return rates
