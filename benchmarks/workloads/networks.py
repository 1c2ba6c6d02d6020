"""What the workloads of networks share: weights of a fixed seed, and PyTorch's ways to apply a network."""

from __future__ import annotations

import copy
from collections.abc import Callable

import jax
import numpy as np
import torch

from benchmarks.frameworks import on_torch
from benchmarks.harness.workload import Run, Settings

SEED = 0
GAIN = np.float32(6**0.5)
"""On PyTorch's initial kernels: it makes them He's, of which a layer's outputs are as large as its inputs.

As they are drawn, a layer with ReLU shrinks its inputs 2.4 times, and a deep network returns little but its biases.
"""


Function = Callable[[torch.Tensor], torch.Tensor]
Way = tuple[Function, list[torch.Tensor]]


def on_cpu() -> bool:
    """Whether both frameworks compute on a CPU."""
    return on_torch.device().type == "cpu"


def draw(build: Callable[[], torch.nn.Module]) -> dict[str, np.ndarray]:
    """The state dict of a module, its kernels `GAIN` times PyTorch's own draw."""
    drawn = on_torch.draw_state(build, SEED)
    return {name: array * GAIN if array.ndim > 1 else array for name, array in drawn.items()}


def uniform(*shape: int) -> np.ndarray:
    """Uniform numbers on [0, 1), float32."""
    return np.random.default_rng(SEED).random(shape, dtype=np.float32)


def channels_first(images: np.ndarray) -> np.ndarray:
    """(N, H, W, C) → (N, C, H, W), contiguous."""
    return np.ascontiguousarray(np.moveaxis(images, -1, 1))


def size(tree: object) -> int:
    """Bytes of all the arrays."""
    return sum(int(leaf.nbytes) for leaf in jax.tree.leaves(tree))


def inference_runs(
    module: torch.nn.Module,
    batches: list[torch.Tensor],
    settings: Settings,
    *,
    read: Function = lambda y: y,
) -> dict[str, Run]:
    """A module of each batch in turn, as PyTorch does it where no gradient is wanted; what is `read` of the last.

    Images are also given channels last, where the module's kernels are too.
    """
    ways: dict[str, Way] = {"eager, inference mode": (module, batches)}
    if batches[0].ndim == 4:
        last = copy.deepcopy(module).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        ways["eager, channels last"] = (last, [x.to(memory_format=torch.channels_last) for x in batches])
    # The layout that a GPU's convolutions like best; on a CPU the compiler chooses for itself.
    function, inputs = ways["eager, inference mode"] if on_cpu() else list(ways.values())[-1]
    ways |= {name: (compiled, inputs) for name, compiled in on_torch.compiled(function, settings).items()}

    def runner(function: Function, inputs: list[torch.Tensor]) -> Run:
        @torch.inference_mode()
        def run() -> torch.Tensor:
            for x in inputs:
                y = function(x)
            return on_torch.finished(read(y))

        return run

    return {name: runner(*way) for name, way in ways.items()}
