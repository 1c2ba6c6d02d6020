"""PyTorch's side of a comparison: its device, its compiler, its part of the limits, its waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import jax
import numpy as np
import torch

from mathdnn_jax.errors import ConfigurationError

Module = TypeVar("Module", bound=torch.nn.Module)
Value = TypeVar("Value")

PRECISION = "highest"
DTYPES = {"f32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}


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


def finished(tensor: Value) -> Value:
    """The same tensor or tuple of them, once it is computed: CUDA returns from a call before its work is done."""
    if device().type == "cuda":
        torch.cuda.synchronize()
    return tensor


@contextmanager
def thread_count(count: int) -> Iterator[None]:
    """Compute with so many threads inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def compiled(function: Callable[..., Value], name: str = "compiled") -> dict[str, Callable[..., Value]]:
    """The function through `torch.compile`, by the name of the baseline; on CUDA also in its two faster modes.

    Nothing is compiled before a first call. What a call in a mode with CUDA graphs returns is overwritten by the next.
    """
    # Shapes are fixed here as they are in JAX's programs.
    return {title: torch.compile(function, mode=mode, dynamic=False) for title, mode in compile_modes(name).items()}


def compile_modes(name: str = "compiled") -> dict[str, str | None]:
    """The modes of `torch.compile` that are tried on this device, by the name of the baseline."""
    faster = ("reduce-overhead", "max-autotune") if device().type == "cuda" else ()
    return {name: None, **{f"{name}, {mode}": mode for mode in faster}}


def forget_compiled() -> None:
    """Make `torch.compile` start anew: it gives up on a function that was compiled for several shapes."""
    torch._dynamo.reset()


def device_seconds(run: Callable[[], object]) -> float | None:
    """Seconds between CUDA events around one run; None where the device is no GPU."""
    if device().type != "cuda":
        return None
    began, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    began.record()
    run()
    ended.record()
    torch.cuda.synchronize()
    return float(began.elapsed_time(ended)) / 1e3


def matmul(size: int, precision: str = "f32") -> Callable[[], object]:
    """A matrix product of `size`³, 2 size³ FLOPs, ready to be timed: warm, the matrices on the device."""
    matrix = on_device(np.random.default_rng(0).standard_normal((size, size), dtype=np.float32)).to(DTYPES[precision])
    return _ready(lambda: matrix @ matrix)


def convolution(batch: int, side: int, channels: int, precision: str = "f32") -> Callable[[], object]:
    """A 3 × 3 convolution, same padding, of channels-last images of equal channels in and out, ready to be timed."""
    rng = np.random.default_rng(0)
    images = on_device(rng.standard_normal((batch, channels, side, side), dtype=np.float32)).to(DTYPES[precision])
    kernel = on_device(rng.standard_normal((channels, channels, 3, 3), dtype=np.float32)).to(DTYPES[precision])
    x, w = (array.contiguous(memory_format=torch.channels_last) for array in (images, kernel))
    return _ready(lambda: torch.nn.functional.conv2d(x, w, padding=1))


def copy(count: int) -> Callable[[], object]:
    """Add one to `count` float32 numbers, in the memory where they lie: 4 count bytes read and as many written."""
    with torch.inference_mode():
        numbers = torch.zeros(count, device=device())
    return _ready(lambda: numbers.add_(1))


def _ready(work: Callable[[], Any]) -> Callable[[], object]:
    def run() -> object:
        with torch.inference_mode():
            return finished(work())

    run()
    return run


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
