"""The `run` command: workload after workload, case after case, in each precision, into one file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

from benchmarks.case import Case, Settings
from benchmarks.frameworks import on_jax, on_torch
from benchmarks.frameworks.precision import DEFINITIONS, precision_of_both
from benchmarks.harness.agreement import RULE
from benchmarks.harness.limits import CPU, GPU, QUICK, measure_limits, prepare_limits
from benchmarks.harness.machine import describe_machine
from benchmarks.harness.measure import forget_last_case, measure
from benchmarks.harness.rates import best
from benchmarks.harness.results import FORMAT
from benchmarks.harness.targets import evaluate
from benchmarks.workloads import load_workload
from benchmarks.workloads.gpu_targets import aims
from mathdnn_jax.errors import ConfigurationError

Say = Callable[[str], object]
IMPORTS = ("jax", "mathdnn_jax", "torch")


class Options(NamedTuple):
    """The workloads to run, and the number of samples of each contender."""

    names: tuple[str, ...]
    precisions: tuple[str, ...] = ("f32",)
    repeat: int = 7
    settings: Settings = Settings()
    command: str = ""
    memory_kept: bool = False
    """Whether the process keeps freed memory, see `keep_freed_memory`."""


def run(options: Options, say: Say = lambda _: None) -> Iterator[dict[str, Any]]:
    """Yield the results in the file's format after each workload in each precision, each time with all rows so far.

    A case that fails becomes a row with its `error`, and the run continues; so does a workload that fails to prepare.

    Raises:
        ConfigurationError: the device does not support a precision, or there is nothing to time.
    """
    if options.repeat < 1:
        raise ConfigurationError(f"given repeat={options.repeat}, but each contender is sampled at least once")
    check_batches(options.settings.batches)
    for precision in options.precisions:
        with precision_of_both(precision):
            pass
    device, threads = on_torch.device().type, on_jax.threads()
    results = _header(options, device, threads)
    with ExitStack() as stack:
        if device == "cpu":
            stack.enter_context(on_torch.thread_count(threads))
        for precision in options.precisions:
            with precision_of_both(precision):
                yield from _in_precision(options, precision, results, say)


def check_batches(batches: tuple[int, ...] | None) -> None:
    """Raise ConfigurationError unless every batch has at least one item."""
    if wrong := [batch for batch in batches or () if batch < 1]:
        raise ConfigurationError(f"given {', '.join(map(str, wrong))}, expected batches of at least one item")


def failed(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows that have an error instead of figures."""
    return [row for row in results["rows"] if "error" in row]


def _in_precision(options: Options, precision: str, results: dict[str, Any], say: Say) -> Iterator[dict[str, Any]]:
    quick = options.settings.quick
    sizes = QUICK if quick else GPU if on_torch.device().type == "cuda" else CPU
    say(f"{precision}: the limits")
    limits = prepare_limits(sizes, precision)
    rates = measure_limits(limits, 2 if quick else 7)
    finished, done = len(results["rows"]), list[tuple[dict[str, Any], dict[str, float]]]()
    for name in options.names:
        done.extend(_rows(name, options.settings._replace(precision=precision), options.repeat, say))
        # Measured again after each workload, since a limit from a disturbed moment would flatter the shares.
        rates = best(rates, measure_limits(limits, 2))
        results["limits"][precision] = {**rates, "sizes": sizes._asdict()}
        results["rows"][finished:] = [row if "error" in row else evaluate(row, rates, targets) for row, targets in done]
        yield results


def _rows(name: str, settings: Settings, repeat: int, say: Say) -> Iterator[tuple[dict[str, Any], dict[str, float]]]:
    """Yield a row for each case, with its targets."""
    about = {"workload": name, "backend": _backend(), "precision": settings.precision}
    on_gpu = about["backend"] == "gpu"
    try:
        workload = load_workload(name)
        if settings.precision not in workload.precisions:
            say(f"{name} does not support {settings.precision}")
            return
        cases = workload.cases(settings)
        while True:
            case = None
            forget_last_case()
            case = next(cases, None)
            if case is None:
                return
            say(f"{name} {settings.precision}, {case.label}: {', '.join(['jax', *case.torch, *case.others])}")
            if on_gpu:
                case = case._replace(why="")
            yield _row(about, case, settings, repeat, say), {} if settings.quick else _targets(name, case, settings)
    except Exception as error:
        yield {**about, "case": None, **_failure(error, say)}, {}


def _row(about: dict[str, Any], case: Case, settings: Settings, repeat: int, say: Say) -> dict[str, Any]:
    try:
        return {**about, **measure(case, repeat, settings.precision, settings.quick, say)}
    except Exception as error:
        return {**about, "case": case.label, **_failure(error, say)}


def _failure(error: Exception, say: Say) -> dict[str, str]:
    text = f"{type(error).__name__}: {error}"
    say(f"failed: {text}")
    return {"error": text}


def _targets(name: str, case: Case, settings: Settings) -> dict[str, float]:
    return dict(case.targets) if _backend() == "cpu" else aims(name, case.label, settings.precision)


def _backend() -> str:
    return "gpu" if on_torch.device().type == "cuda" else "cpu"


def _header(options: Options, device: str, threads: int) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "command": options.command,
        "machine": describe_machine(),
        "torch": {"device": on_torch.device_name()},
        "threads": {"jax": threads, "torch": threads if device == "cpu" else on_torch.threads()},
        "memory_kept": options.memory_kept,
        "imports_s": None if options.settings.quick else {name: _import_seconds(name) for name in IMPORTS},
        "repeat": options.repeat,
        "quick": options.settings.quick,
        "modes": list(options.settings.modes),
        "precisions": {precision: DEFINITIONS[precision] for precision in options.precisions},
        "agreement": RULE,
        "limits": {},
        "rows": [],
    }


def _import_seconds(module: str) -> float | None:
    """Time an import in a new process, and return the second of two times, with files in cache; None if it fails."""
    code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return float(done.stdout) if done.returncode == 0 else None
