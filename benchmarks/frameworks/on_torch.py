"""PyTorch's side of a comparison: its device, its compiler, its part of the limits, its waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import jax
import numpy as np
import torch

from benchmarks.frameworks import cuda
from benchmarks.harness.workload import Settings
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


def compiled(
    function: Callable[..., Value], settings: Settings, name: str = "compiled"
) -> dict[str, Callable[..., Value]]:
    """The function through `torch.compile` in each of the settings' modes, by the name of the baseline."""
    return {
        title: cuda.compile_in_mode(function, mode, stand_in=settings.stand_in)
        for title, mode in compile_modes(settings, name).items()
    }


def compile_modes(settings: Settings, name: str = "compiled") -> dict[str, str]:
    """The settings' modes of `torch.compile` that this device has, by the name of the baseline.

    Raises:
        ConfigurationError: `torch.compile` has no such mode.
    """
    if unknown := [mode for mode in settings.modes if mode not in cuda.MODES]:
        raise ConfigurationError(f"torch.compile has the modes {', '.join(cuda.MODES)}; given {', '.join(unknown)}")
    here = [mode for mode in settings.modes if mode not in cuda.WITH_GRAPHS or has_graphs(settings)]
    return {name if mode == "default" else f"{name}, {mode}": mode for mode in here}


def has_graphs(settings: Settings) -> bool:
    """Whether work can be captured as a CUDA graph here, or something stands in for that."""
    return device().type == "cuda" or settings.stand_in


def forget_compiled() -> None:
    """Make `torch.compile` start anew: it gives up on a function that was compiled for several shapes.

    On a GPU what PyTorch keeps of the last case's memory is given back too.
    """
    torch._dynamo.reset()
    if device().type == "cuda":
        cuda.give_memory_back()


def device_seconds(run: Callable[[], object]) -> float | None:
    """Seconds between CUDA events around one run; None where the device is no GPU."""
    return cuda.device_seconds(run) if device().type == "cuda" else None


@contextmanager
def tuned() -> Iterator[None]:
    """Have cuDNN try its algorithms and keep the fastest inside, as XLA does."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def forget_peak() -> None:
    """Begin anew to look for the greatest memory on a GPU, see `peak_bytes`; nothing where there is none."""
    if device().type == "cuda":
        cuda.forget_peak()


def peak_bytes() -> int | None:
    """The greatest memory that tensors took on the GPU since `forget_peak`; None where the device is no GPU."""
    return cuda.peak_bytes() if device().type == "cuda" else None


def matmul(size: int, precision: str = "f32") -> Callable[[], object]:
    """A matrix product of `size`³, 2 size³ FLOPs, ready to be timed: warm, the matrices on the device."""
    matrix = _normal((size, size), precision)
    return _ready(lambda: matrix @ matrix)


def convolution(batch: int, side: int, channels: int, precision: str = "f32") -> Callable[[], object]:
    """A 3 × 3 convolution, same padding, of channels-last images of equal channels in and out, ready to be timed."""
    images = _normal((batch, channels, side, side), precision)
    kernel = _normal((channels, channels, 3, 3), precision)
    x, w = (array.contiguous(memory_format=torch.channels_last) for array in (images, kernel))
    return _ready(lambda: torch.nn.functional.conv2d(x, w, padding=1))


def _normal(shape: tuple[int, ...], precision: str) -> torch.Tensor:
    """Normal numbers drawn on the device, since of hundreds of millions a host would be drawing for seconds."""
    generator = torch.Generator(device()).manual_seed(0)
    return finished(torch.randn(shape, generator=generator, device=device(), dtype=DTYPES[precision]))


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
