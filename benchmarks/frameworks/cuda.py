"""What PyTorch offers only on a GPU (graphs, events, memory statistics), and what stands in for it on a CPU.

A stand-in computes the same values along the same path, so that the surrounding logic can be tested without a GPU. Its
speed means nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.utils import _pytree

Value = TypeVar("Value")

WARM_UP = 3
"""How often work runs before it is captured, while libraries choose their algorithms and allocate their memory."""
MODES = ("default", "reduce-overhead", "max-autotune")
"""The modes of `torch.compile`, ordered by compilation time."""
WITH_GRAPHS = ("reduce-overhead", "max-autotune")
"""The modes that capture CUDA graphs, whose results are overwritten by the next call."""


def capture(work: Callable[[], torch.Tensor], *, stand_in: bool = False) -> Callable[[], torch.Tensor]:
    """Capture the kernels that `work` launches as one CUDA graph, and return a function that replays them.

    Each replay returns the same tensor with new values in it. `work` runs `WARM_UP` times before it is captured, so
    the caller has to restore what it changes.

    Args:
        work: takes no arguments; reads and writes tensors that stay in the same memory.
        stand_in: for a CPU, which has no graphs: replaying runs the work again and writes to the same tensor.
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
    # Neither what other threads do meanwhile, such as JAX's, nor what a collection would free may break the capture.
    gc.collect()
    gc.disable()
    try:
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            result = work()
    finally:
        gc.enable()

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
    """Compile with `torch.compile` in one of `MODES` for fixed shapes; compilation happens at the first call.

    Results of a mode with CUDA graphs are copied, because the next call overwrites them.

    Args:
        function: takes tensors and returns a tensor or a tree of tensors.
        mode: one of `MODES`.
        stand_in: trace the function, but run the trace without compiling it.
    """
    # Shapes are fixed, as they are in JAX's programs.
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
    """Return the seconds between two CUDA events around one run."""
    began, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    began.record()
    run()
    ended.record()
    torch.cuda.synchronize()
    return float(began.elapsed_time(ended)) / 1e3


def forget_peak() -> None:
    """Reset the peak of the memory taken by PyTorch's tensors."""
    torch.cuda.reset_peak_memory_stats()


def give_memory_back() -> None:
    """Release the memory that PyTorch keeps for future tensors."""
    torch.cuda.empty_cache()


def peak_bytes() -> int:
    """Return the peak of the memory taken by PyTorch's tensors since `forget_peak`."""
    return int(torch.cuda.max_memory_allocated())
