"""Where the time of one case goes, operation by operation, in JAX and in PyTorch."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import torch

from benchmarks.errors import ProfileError
from benchmarks.frameworks import on_torch
from benchmarks.harness.timing import timed
from benchmarks.harness.workload import Case, Run

CONTAINERS = ("while", "conditional", "call")
"""Instructions whose time is that of the instructions in them."""


class Cost(NamedTuple):
    """One kind of operation: what it is, its seconds in one run, summed over threads, and how often it ran."""

    operation: str
    seconds: float
    times: int


class Profile(NamedTuple):
    """The seconds of a run that nobody watched, and what the operations of the next one cost, the dearest first."""

    seconds: float
    costs: tuple[Cost, ...]


def profile_case(case: Case) -> Iterator[tuple[str, Profile]]:
    """Yield what one run costs by JAX, and by the first of PyTorch's ways, each after two runs that are not watched.

    Raises:
        ProfileError: the work is done on a GPU of which JAX's profiler saw nothing.
    """
    yield "JAX", profile_jax(case)
    yield from profile_torch(case)


def profile_jax(case: Case) -> Profile:
    """Return what one run costs by JAX, as `profile_case` does."""
    jax.clear_caches()  # the programs of cases before this one have the names of this one's
    return _of_jax(case.jax, _settled(case.jax))


def profile_torch(case: Case) -> Iterator[tuple[str, Profile]]:
    """Yield what one run costs by the first of PyTorch's ways, if there is one."""
    for name, run in [*case.torch.items()][:1]:
        yield f"PyTorch {name}", _of_torch(run, _settled(run))


def profile_table(profiles: dict[str, Profile], rows: int = 12) -> str:
    """The dearest operations of each, a line each with its milliseconds, its share and how often it ran."""
    lines = []
    for name, (seconds, costs) in profiles.items():
        total = sum(cost.seconds for cost in costs)
        lines.append(f"{name}: {1e3 * seconds:.4g} ms, and its operations, while watched, {1e3 * total:.4g}")
        for operation, spent, times in costs[:rows]:
            lines.append(f"  {1e3 * spent:>10.3f} ms {spent / (total or 1):>5.0%} {times:>7} x  {operation}")
    return "\n".join(lines)


def _settled(run: Run) -> float:
    """Run the work twice, and return the seconds of the second time."""
    run()
    return timed(run)[1]


def _of_jax(run: Run, seconds: float) -> Profile:
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            run()
        traces = sorted(Path(folder).rglob("*.xplane.pb"))
        data = jax.profiler.ProfileData.from_file(str(traces[-1]))
    sources = _sources()
    spent: dict[str, float] = {}
    times: Counter[str] = Counter()
    for module, instruction, nanoseconds in _instructions(data):
        kind = re.sub(r"[.\d]+$", "", instruction)
        if kind not in CONTAINERS:
            name = f"{kind}  {sources.get((module, instruction), '')}".rstrip()
            spent[name] = spent.get(name, 0.0) + 1e-9 * nanoseconds
            times[name] += 1
    return Profile(seconds, _dearest(Cost(name, each, times[name]) for name, each in spent.items()))


def _instructions(data: Any) -> Iterator[tuple[str, str, float]]:
    """The program, the instruction and the nanoseconds of each that XLA ran; of a GPU what ran on its streams.

    On a GPU a kernel without an instruction, as those of a CUDA graph may be, is told by its own name.
    """
    gpus = [plane for plane in data.planes if plane.name.startswith("/device:GPU")]
    if jax.default_backend() == "gpu" and not gpus:
        raise ProfileError(f"JAX's profiler saw no GPU, only {', '.join(plane.name for plane in data.planes)}")
    for plane in gpus or data.planes:
        for line in plane.lines:
            if gpus and not line.name.startswith("Stream"):
                continue  # the same time again, by program or by where it comes from
            for event in line.events:
                stats = dict(event.stats)
                if "hlo_op" in stats and not event.name.startswith("end: "):
                    yield str(stats.get("hlo_module")), str(stats["hlo_op"]), event.duration_ns
                elif gpus:
                    yield "", event.name, event.duration_ns


def _sources() -> dict[tuple[str, str], str]:
    """By program and instruction, the shape that it makes and where in the library's code it comes from."""
    found = {}
    named = re.compile(r"%?([\w.\-]+) = (\S+?)(?:\{\S*)? [\w\-]+\(.*op_name=\"([^\"]*)\"")
    for executable in jax.devices()[0].client.live_executables():
        for module in executable.hlo_modules():
            for instruction, shape, path in named.findall(module.to_string()):
                found[module.name, instruction] = f"{shape} {_short(path)}"
    return found


def _short(path: str) -> str:
    """The last steps of the way to an operation, without the functions that JAX puts around it."""
    steps = [
        step
        for step in path.replace("\\'", "'").split("/")
        if not re.fullmatch(r"jit\(.*\)|while|body|closed_call", step)
    ]
    return "/".join(steps[-3:])


def _of_torch(run: Run, seconds: float) -> Profile:
    on_device = on_torch.device().type == "cuda"
    # Of a GPU only its kernels are recorded: a hundred thousand calls on the processor would take longer than the work.
    activity = torch.profiler.ProfilerActivity.CUDA if on_device else torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[activity]) as watched:
        run()
    return Profile(seconds, _dearest(_kernels(watched.key_averages()) if on_device else _calls(watched.key_averages())))


def _calls(averages: Iterable[Any]) -> Iterator[Cost]:
    for event in averages:
        yield Cost(event.key, 1e-6 * event.self_cpu_time_total, event.count)


def _kernels(averages: Iterable[Any]) -> Iterator[Cost]:
    """What ran on the GPU. An annotation, such as an optimiser's step, is the time of the kernels in it again."""
    for event in averages:
        if event.device_type.name == "CUDA" and not event.is_user_annotation:
            yield Cost(event.key, 1e-6 * event.self_device_time_total, event.count)


def _dearest(costs: Iterable[Cost]) -> tuple[Cost, ...]:
    return tuple(sorted(costs, key=lambda cost: -cost.seconds))
