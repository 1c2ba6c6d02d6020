"""Shared by the workloads of networks: weights drawn with a fixed seed, and PyTorch's ways to apply a network."""

from __future__ import annotations

import copy
from collections.abc import Callable

import jax
import numpy as np
import torch

from benchmarks.case import Contender, Settings
from benchmarks.frameworks import on_torch

SEED = 0
GAIN = np.float32(6**0.5)
"""The factor that turns PyTorch's initial kernels into He's, with which a layer's outputs are as large as its inputs.

Without it, a layer with ReLU shrinks its inputs 2.4 times, and a deep network returns little more than its biases.
"""

Function = Callable[[torch.Tensor], torch.Tensor]
Way = tuple[Function, list[torch.Tensor]]


def on_cpu() -> bool:
    """Return whether both frameworks compute on a CPU."""
    return on_torch.device().type == "cpu"


def draw(build: Callable[[], torch.nn.Module]) -> dict[str, np.ndarray]:
    """Return the state dict of a module as PyTorch draws it, with its kernels multiplied by `GAIN`."""
    drawn = on_torch.draw_state(build, SEED)
    return {name: array * GAIN if array.ndim > 1 else array for name, array in drawn.items()}


def uniform(*shape: int) -> np.ndarray:
    """Draw uniform numbers on [0, 1), float32."""
    return np.random.default_rng(SEED).random(shape, dtype=np.float32)


def channels_first(images: np.ndarray) -> np.ndarray:
    """Transpose (N, H, W, C) → (N, C, H, W), contiguous."""
    return np.ascontiguousarray(np.moveaxis(images, -1, 1))


def size(tree: object) -> int:
    """Count the bytes of all arrays."""
    return sum(int(leaf.nbytes) for leaf in jax.tree.leaves(tree))


def network_baselines(
    module: torch.nn.Module,
    batches: list[torch.Tensor],
    settings: Settings,
    *,
    read: Function = lambda y: y,
) -> dict[str, Contender]:
    """Return the ways in which PyTorch applies a module to several batches if no gradient is needed.

    A run returns what `read` makes of the last batch's outputs. Images and kernels are also given channels last.
    """
    ways: dict[str, Way] = {"eager, inference mode": (module, batches)}
    if batches[0].ndim == 4:
        last = copy.deepcopy(module).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        ways["eager, channels last"] = (last, [x.to(memory_format=torch.channels_last) for x in batches])
    # Convolutions of a GPU are fastest with channels last; on a CPU the compiler chooses the layout itself.
    function, inputs = ways["eager, inference mode"] if on_cpu() else list(ways.values())[-1]
    ways |= {name: (compiled, inputs) for name, compiled in on_torch.compiled(function, settings).items()}

    def in_turn(function: Function, inputs: list[torch.Tensor]) -> Contender:
        def run() -> torch.Tensor:
            for x in inputs:
                y = function(x)
            return read(y)

        return on_torch.inference(run)

    return {name: in_turn(*way) for name, way in ways.items()}
