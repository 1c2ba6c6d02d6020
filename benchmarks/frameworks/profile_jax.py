"""JAX's profiler: the cost of each instruction that XLA runs, named by the code that it comes from."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from benchmarks.case import Contender
from benchmarks.errors import ProfileError
from benchmarks.frameworks.costs import Cost, largest_first

CONTAINERS = ("while", "conditional", "call")
"""Instructions whose time is that of the instructions inside them."""


def costs_of_jax(run: Contender) -> tuple[Cost, ...]:
    """Run the work under the profiler, and return the cost of its operations, largest first.

    Raises:
        ProfileError: the work runs on a GPU, and the profiler saw nothing of it.
    """
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
    return largest_first(Cost(name, each, times[name]) for name, each in spent.items())


def _instructions(data: Any) -> Iterator[tuple[str, str, float]]:
    """Yield program, instruction and nanoseconds of everything that XLA ran; on a GPU, of what ran on its streams.

    A kernel without an instruction, as in a CUDA graph on a GPU, is reported under its own name.
    """
    gpus = [plane for plane in data.planes if plane.name.startswith("/device:GPU")]
    if jax.default_backend() == "gpu" and not gpus:
        raise ProfileError(f"JAX's profiler saw no GPU, only {', '.join(plane.name for plane in data.planes)}")
    for plane in gpus or data.planes:
        for line in plane.lines:
            if gpus and not line.name.startswith("Stream"):
                continue  # the same time once more, by program or by source
            for event in line.events:
                stats = dict(event.stats)
                if "hlo_op" in stats and not event.name.startswith("end: "):
                    yield str(stats.get("hlo_module")), str(stats["hlo_op"]), event.duration_ns
                elif gpus:
                    yield "", event.name, event.duration_ns


def _sources() -> dict[tuple[str, str], str]:
    """Return, by program and instruction, the shape of the result and the place in the code that it comes from."""
    found = {}
    named = re.compile(r"%?([\w.\-]+) = (\S+?)(?:\{\S*)? [\w\-]+\(.*op_name=\"([^\"]*)\"")
    for executable in jax.devices()[0].client.live_executables():
        for module in executable.hlo_modules():
            for instruction, shape, path in named.findall(module.to_string()):
                found[module.name, instruction] = f"{shape} {_short(path)}"
    return found


def _short(path: str) -> str:
    """Return the last three steps of the path to an operation, without the functions that JAX wraps around it."""
    steps = [
        step
        for step in path.replace("\\'", "'").split("/")
        if not re.fullmatch(r"jit\(.*\)|while|body|closed_call", step)
    ]
    return "/".join(steps[-3:])
