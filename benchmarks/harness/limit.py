"""The rates that this machine reaches in either framework: what no network of such layers exceeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from benchmarks.frameworks import on_jax, on_torch
from benchmarks.harness.rates import Rates
from benchmarks.harness.timing import interleaved

REPEAT = 7


class Sizes(NamedTuple):
    """Of the matrix product; of the convolution (images, their sides, channels); numbers that are copied."""

    matmul: int
    convolution: tuple[int, int, int]
    copied: int


CPU = Sizes(2048, (32, 56, 64), 2**26)
GPU = Sizes(12288, (512, 56, 256), 2**30)
"""Each takes milliseconds at the least, of which launching one and waiting for it are a hundredth or two."""
QUICK = Sizes(128, (1, 8, 8), 2**16)


class Limit(NamedTuple):
    """One kind of work, compiled and warm, by framework, and how much of it one run does."""

    amount: float
    runs: Mapping[str, Callable[[], object]]


def prepare_limits(sizes: Sizes, precision: str) -> dict[str, Limit]:
    """Large products and convolutions in that precision, and a pass over memory, in either framework."""
    batch, side, channels = sizes.convolution
    return {
        "matmul": Limit(
            2 * sizes.matmul**3,
            {"jax": on_jax.matmul(sizes.matmul, precision), "torch": on_torch.matmul(sizes.matmul, precision)},
        ),
        "convolution": Limit(
            2 * batch * (3 * side - 2) ** 2 * channels**2,  # at a border the kernel meets zeros
            {
                "jax": on_jax.convolution(batch, side, channels, precision),
                "torch": on_torch.convolution(batch, side, channels, precision),
            },
        ),
        "memory": Limit(8 * sizes.copied, {"jax": on_jax.copy(sizes.copied), "torch": on_torch.copy(sizes.copied)}),
    }


def measure_limits(limits: Mapping[str, Limit], repeat: int = REPEAT) -> Rates:
    """The rate of each framework's best of `repeat` runs of each kind.

    The best, not the median: what disturbs a run makes it slower, never faster.
    """
    rates: Rates = {}
    for kind, limit in limits.items():
        for name, times in interleaved(limit.runs, repeat).items():
            rates.setdefault(name, {})[kind] = limit.amount / min(times)
    return rates
