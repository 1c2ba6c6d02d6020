"""One case: its results are compared, then its contenders are timed in turn."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from benchmarks.case import Case, Contender
from benchmarks.errors import NoBaselineError, OutputsDifferError
from benchmarks.frameworks import on_jax, on_torch
from benchmarks.frameworks.precision import EPSILON, as_arrays
from benchmarks.harness.agreement import FACTOR, GPU_FACTOR, check_agreement, check_close
from benchmarks.harness.timing import BUDGET, DISTURBED, Turn, interleaved, ratios, spread, timed, turn
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.memory import give_back_freed_memory

BRIEF = 1.0
"""Work that takes fewer seconds than this is done once more before it is timed, as a second call may still settle."""
BEGINNING, COMPILING, TUNING = 3.0, 25.0, 90.0
"""Seconds that a contender may need for its first result: usually, if compiled by `torch.compile`, if tuned by it."""
SAMPLING = 0.6
"""Share of the seconds that remain after all first results which the samples may take."""


class TimeAllowed(NamedTuple):
    """The time that a case may take."""

    budget: float = BUDGET
    """Seconds that all samples of one contender may take together; slow work is sampled less often."""
    left: Callable[[], float] = lambda: math.inf
    """Returns the seconds that are left; a contender that may need more for its first result is not begun."""


UNLIMITED = TimeAllowed()


def measure(
    case: Case,
    repeat: int,
    precision: str,
    quick: bool = False,
    say: Callable[[str], object] = lambda _: None,
    allowed: TimeAllowed = UNLIMITED,
) -> dict[str, Any]:
    """Time a case's contenders with `repeat` interleaved samples, after checking that their first results agree.

    Returns:
        A row in the format of the results file:

        - the case's own figures;
        - `contenders` by name, "jax" first. Each has its `kind`, the `seconds` of every sample, `median_s`, `least_s`,
          `greatest_s`, `items_per_s` at the median, `first_call_s`, and `error` (against the truth, or relative to
          JAX). All but JAX have a `ratio`: the median, least and greatest of their time over that of JAX in the same
          round, above 1 if JAX is faster. The seconds of a contender that does a portion of the work are scaled to
          the whole, and its `portion` is the number of such parts;
        - `best`: the PyTorch baseline with the least median;
        - `unable`: what could not run, with the reasons;
        - `xla`: XLA's own count;
        - `memory`: the peak of either framework on a GPU, for JAX since its process began;
        - `disturbed`: whether times of the same work spread by more than `DISTURBED`, so that the ratios may reflect
          other load on the machine.

    Raises:
        OutputsDifferError: contenders do not compute the same; in this case none is timed.
        NoBaselineError: there are PyTorch baselines and there was time for them, but none could run.
        ConfigurationError: two contenders have the same name.
        Exception: whatever the JAX program raises.
    """
    kinds = {"jax": "jax"} | dict.fromkeys(case.torch, "torch") | dict.fromkeys(case.others, "other")
    if len(kinds) != 1 + len(case.torch) + len(case.others):
        raise ConfigurationError(f"contenders of {case.label} share a name: {[*case.torch, *case.others]}, or jax")
    on_torch.forget_peak()
    runs, unable = {"jax": case.jax}, dict(case.unable)
    results, first, no_time = {}, {}, set()
    for name, run in {"jax": case.jax, **case.torch, **case.others}.items():
        if name != "jax" and allowed.left() < _until_first_result(name):
            unable[name] = f"not begun: {max(allowed.left(), 0):.0f} s were left"
            no_time.add(name)
            continue
        try:
            result, first[name] = timed(run)
            results[name] = as_arrays(result)
        except Exception as error:
            if name == "jax":
                raise
            first.pop(name, None)
            unable[name] = _describe(error)
            say(f"{case.label}: {name} cannot run: {unable[name]}")
        else:
            runs[name] = run
    if not no_time and case.torch and not any(kinds[name] == "torch" for name in runs):
        raise NoBaselineError("; ".join(f"{name}: {reason}" for name, reason in unable.items()))
    errors = _compare(case, results, EPSILON[precision])
    del results

    def optional(what: str, look: Callable[[], Any]) -> Any:
        """Return a figure that is not a time, or None if it fails; the reason is recorded, and the times are kept."""
        try:
            return look()
        except Exception as error:
            unable[what] = _describe(error)
            return None

    budget = min(allowed.budget, SAMPLING * max(allowed.left(), 0.0) / len(runs))
    turns = {name: _warm(run, repeat, quick, budget) for name, run in runs.items()}
    parts = {name: portion.times for name, portion in case.portions.items() if name in runs}
    seconds = {
        name: tuple(parts.get(name, 1) * value for value in times) for name, times in interleaved(turns, repeat).items()
    }
    contenders = {
        name: {"kind": kinds[name], **_figures(case, times), "first_call_s": first[name], "error": errors[name]}
        for name, times in seconds.items()
    }
    for name, times in seconds.items():
        if name != "jax":
            both = min(len(times), len(seconds["jax"]))
            contenders[name]["ratio"] = spread(ratios(times[:both], seconds["jax"][:both]))._asdict()
        if kinds[name] == "torch":
            contenders[name]["device_s"] = optional(
                f"{name}, CUDA events", partial(on_torch.device_seconds, runs[name])
            )
        if name in parts:
            contenders[name]["portion"] = parts[name]
    baselines = [name for name in contenders if kinds[name] == "torch"]
    return {
        "case": case.label,
        "items": case.items,
        "unit": case.unit,
        "contenders": contenders,
        "best": min(baselines, key=lambda name: contenders[name]["median_s"]) if baselines else None,
        "unable": unable,
        "flops": case.flops,
        "least_bytes": case.least_bytes,
        "limit": case.limit,
        "xla": None if case.lowered is None else optional("XLA's count", partial(_cost, case.lowered)),
        "memory": {"jax_peak_bytes": on_jax.peak_bytes(), "torch_peak_bytes": on_torch.peak_bytes()},
        "why": case.why,
        "disturbed": any(max(times) > DISTURBED * min(times) for times in seconds.values()),
    }


def forget_last_case() -> None:
    """Free the memory of the last case: what PyTorch has compiled, and what the process keeps although it is free."""
    # Reference cycles are collected first, so that their memory can be given back.
    gc.collect()
    on_torch.forget_compiled()
    gc.collect()
    give_back_freed_memory()


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"


def _cost(lowered: Callable[[], Any]) -> dict[str, float | None]:
    return on_jax.cost(lowered())


def _until_first_result(name: str) -> float:
    if "max-autotune" in name:
        return TUNING
    return COMPILING if "compiled" in name else BEGINNING


def _compare(case: Case, results: Mapping[str, tuple[np.ndarray, ...]], epsilon: float) -> dict[str, float | None]:
    """Return the error of each contender's first results, in the unit of the results or relative to JAX's."""
    if case.truth is None:
        differences: dict[str, float | None] = {}
        for name, arrays in results.items():
            portion = case.portions.get(name)
            reference = results["jax"] if portion is None else portion.results(results["jax"])
            differences[name] = check_close(reference, arrays, name, case.tolerance, epsilon)
        return differences
    greatest: dict[str, float | None] = {}
    truths = as_arrays(case.truth())
    for name, arrays in results.items():
        if len(arrays) != len(truths):
            raise OutputsDifferError(f"{name} computed {len(arrays)} arrays, PyTorch in float64 {len(truths)}")
    factor = GPU_FACTOR if on_torch.device().type == "cuda" else FACTOR
    for k, truth in enumerate(truths):
        errors = check_agreement(truth, {name: arrays[k] for name, arrays in results.items()}, epsilon, factor)
        greatest = {name: max(error, greatest.get(name) or 0.0) for name, error in errors.items()}
    return greatest


def _warm(run: Contender, repeat: int, quick: bool, budget: float) -> Turn:
    seconds = timed(run)[1]
    if seconds < BRIEF:
        seconds = timed(run)[1]
    return turn(run, seconds, repeat, quick, budget)


def _figures(case: Case, times: tuple[float, ...]) -> dict[str, Any]:
    statistics = spread(times)
    return {
        "seconds": list(times),
        **{f"{key}_s": value for key, value in statistics._asdict().items()},
        "items_per_s": case.items / statistics.median,
    }
