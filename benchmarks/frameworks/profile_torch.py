"""PyTorch's profiler: the cost of each operation on a CPU, or of each kernel on a GPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch

from benchmarks.case import Contender
from benchmarks.frameworks import on_torch
from benchmarks.frameworks.costs import Cost, largest_first


def costs_of_torch(run: Contender) -> tuple[Cost, ...]:
    """Run the work under the profiler, and return the cost of its operations, largest first."""
    on_gpu = on_torch.device().type == "cuda"
    # On a GPU only the kernels are recorded: recording 100,000 calls on the CPU would take longer than the work.
    activity = torch.profiler.ProfilerActivity.CUDA if on_gpu else torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[activity]) as profiler:
        run()
    averages = profiler.key_averages()
    return largest_first(_kernels(averages) if on_gpu else _calls(averages))


def _calls(averages: Iterable[Any]) -> Iterator[Cost]:
    for event in averages:
        yield Cost(event.key, 1e-6 * event.self_cpu_time_total, event.count)


def _kernels(averages: Iterable[Any]) -> Iterator[Cost]:
    """Yield what ran on the GPU, without annotations, which repeat the time of the kernels inside them."""
    for event in averages:
        if event.device_type.name == "CUDA" and not event.is_user_annotation:
            yield Cost(event.key, 1e-6 * event.self_device_time_total, event.count)
