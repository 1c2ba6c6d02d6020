"""What PyTorch has on a GPU alone, graphs, events and memory statistics, and what stands in for it on a processor.

A stand-in computes the same by the same path, so that the logic around it can be tested where there is no GPU; how
long it takes says nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.utils import _pytree

Value = TypeVar("Value")

WARM_UP = 3
"""How often work is done before it is captured: libraries choose their algorithms and take their memory then."""
MODES = ("default", "reduce-overhead", "max-autotune")
"""The modes of `torch.compile`, the quickest to compile first."""
WITH_GRAPHS = ("reduce-overhead", "max-autotune")
"""Those that capture CUDA graphs, whose results the next call overwrites."""


def capture(work: Callable[[], torch.Tensor], *, stand_in: bool = False) -> Callable[[], torch.Tensor]:
    """Capture the kernels that `work` launches as one CUDA graph, and return a function that replays them.

    A replay returns the same tensor each time, with new values in it. `work` is done `WARM_UP` times before it is
    captured, so that what it changes has to be put back afterwards.

    Args:
        work: takes no arguments; reads and writes tensors whose memory stays where it is.
        stand_in: on a processor, where there are no graphs: replaying does the work again, into the same tensor.
    """
    if stand_in:
        return _replayed(work)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    # What other threads do meanwhile, JAX's among them, is no part of it and must not spoil it.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        result = work()

    def replay() -> torch.Tensor:
        graph.replay()
        return result

    return replay


def _replayed(work: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
    for _ in range(WARM_UP):
        result = work()
    held = torch.empty_like(result)

    def replay() -> torch.Tensor:
        result = work()
        with torch.no_grad():
            return held.copy_(result)

    return replay


def compile_in_mode(function: Callable[..., Value], mode: str, *, stand_in: bool = False) -> Callable[..., Value]:
    """`torch.compile` in one of `MODES`, for fixed shapes; nothing is compiled before the first call.

    The results of a mode with CUDA graphs are copied, since the next call overwrites them.

    Args:
        function: of tensors, returning a tensor or a tree of them.
        mode: one of `MODES`.
        stand_in: trace, but run what was traced without a compiler.
    """
    # Shapes are fixed here as they are in JAX's programs.
    how: dict[str, Any] = {"backend": "eager"} if stand_in else {"mode": mode}
    compiled = torch.compile(function, dynamic=False, **how)
    if mode not in WITH_GRAPHS:
        return compiled

    def call(*arguments: Any) -> Value:
        torch.compiler.cudagraph_mark_step_begin()
        copied: Value = _pytree.tree_map(torch.clone, compiled(*arguments))
        return copied

    return call


def device_seconds(run: Callable[[], object]) -> float:
    """Seconds between two CUDA events around one run."""
    began, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    began.record()
    run()
    ended.record()
    torch.cuda.synchronize()
    return float(began.elapsed_time(ended)) / 1e3


def forget_peak() -> None:
    """Begin anew to look for the greatest memory that PyTorch's tensors take."""
    torch.cuda.reset_peak_memory_stats()


def give_memory_back() -> None:
    """Have PyTorch give up the memory that it keeps for tensors to come."""
    torch.cuda.empty_cache()


def peak_bytes() -> int:
    """The greatest memory that PyTorch's tensors took on the GPU since `forget_peak`."""
    return int(torch.cuda.max_memory_allocated())
