"""PyTorch's side of a comparison: its device, its precision, its matrix product, its waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import jax
import numpy as np
import torch

from mathdnn_jax.errors import ConfigurationError

Module = TypeVar("Module", bound=torch.nn.Module)

PRECISION = "highest"


@contextmanager
def highest_precision() -> Iterator[None]:
    """Float32 matrix products in float32, neither TF32 nor bfloat16."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(PRECISION)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def device() -> torch.device:
    """The kind of device that JAX computes on.

    Raises:
        ConfigurationError: this PyTorch has no such device, and a comparison across kinds would say nothing.
    """
    backend = jax.default_backend()
    if backend == "cpu":
        return torch.device("cpu")
    if backend == "gpu" and torch.cuda.is_available():
        return torch.device("cuda")
    raise ConfigurationError(
        f"JAX computes on a {backend} that this PyTorch cannot use: set JAX_PLATFORMS=cpu, or install a PyTorch for it"
    )


def on_device(array: np.ndarray) -> torch.Tensor:
    """The array on `device()`, there when this returns."""
    return finished(torch.from_numpy(array).to(device()))


def finished(tensor: torch.Tensor) -> torch.Tensor:
    """The same tensor, once it is computed: CUDA returns from a call before its work is done."""
    if tensor.is_cuda:
        torch.cuda.synchronize()
    return tensor


def matmul(size: int) -> Callable[[], object]:
    """A float32 matrix product of `size`³, 2 size³ FLOPs, ready to be timed: warm, the matrices on the device."""
    matrix = on_device(np.random.default_rng(0).standard_normal((size, size), dtype=np.float32))

    def multiply() -> object:
        with torch.inference_mode():
            return finished(matrix @ matrix)

    multiply()
    return multiply


def draw_state(build: Callable[[], torch.nn.Module], seed: int) -> dict[str, np.ndarray]:
    """The state dict of a module as PyTorch initialises it after `torch.manual_seed(seed)`.

    The caller's own random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return {name: tensor.numpy() for name, tensor in build().state_dict().items()}


def module_with(build: Callable[[], Module], state: Mapping[str, np.ndarray]) -> Module:
    """A module with these weights (copies), in eval mode, on `device()`."""
    module = build()
    module.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in state.items()}, strict=True)
    return module.to(device()).eval()
