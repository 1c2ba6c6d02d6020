"""One piece of work in several frameworks: outputs compared, then timed in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from benchmarks.agreement import check_agreement
from benchmarks.timing import interleaved, ratios, spread, timed

DISTURBED = 1.3
"""How many times its least a contender's greatest time is at most on a quiet machine."""


class Contender(NamedTuple):
    """What one framework does; every call returns when its work is done, not when it is under way."""

    first: Callable[[], object]
    """A first call of the kind that the work is made of, in which a framework that compiles does so."""
    work: Callable[[], object]
    """All of the work, its data and weights on the device beforehand."""
    output: Callable[[], np.ndarray]
    """All of the work once more, its result (N,) on the host."""


def compare(jax: Contender, torch: Contender, truth: np.ndarray, repeat: int) -> dict[str, Any]:
    """Time `repeat` interleaved pairs of work that yields N numbers, whose float64 values are `truth` (N,).

    Returns:
        `jax` and `torch`, each with `seconds` of every repetition, `median_s`, `least_s`, `greatest_s`,
        `items_per_s` at the median, `first_call_s`, and `greatest_error` against the truth; and `torch_over_jax`,
        the median, least and greatest ratio of a pair, above 1 where JAX is faster. `disturbed` says whether times of
        the same work spread by more than `DISTURBED`; then the ratios do not tell the frameworks apart from whatever
        else was running. PyTorch suffers more from that, its threads waiting for one another in every operation.

    Raises:
        OutputsDifferError: they do not compute the same; then nothing was repeated.
    """
    contenders: Mapping[str, Contender] = {"jax": jax, "torch": torch}
    first = {name: timed(contender.first)[1] for name, contender in contenders.items()}
    # This is the warm-up too: whatever is done once for each shape of the data is done now.
    errors = check_agreement(truth, {name: contender.output() for name, contender in contenders.items()})
    seconds = interleaved({name: contender.work for name, contender in contenders.items()}, repeat)
    figures: dict[str, Any] = {
        name: {
            "seconds": list(times),
            **{f"{key}_s": value for key, value in spread(times)._asdict().items()},
            "items_per_s": len(truth) / spread(times).median,
            "first_call_s": first[name],
            "greatest_error": errors[name],
        }
        for name, times in seconds.items()
    }
    return {
        **figures,
        "torch_over_jax": spread(ratios(seconds["torch"], seconds["jax"]))._asdict(),
        "disturbed": any(max(times) > DISTURBED * min(times) for times in seconds.values()),
    }
