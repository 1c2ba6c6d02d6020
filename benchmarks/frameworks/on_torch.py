"""PyTorch's side of a comparison: its device, its compiler, its share of the limits, waiting for results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import jax
import numpy as np
import torch

from benchmarks.case import Contender, Settings
from benchmarks.frameworks import cuda
from mathdnn_jax.errors import ConfigurationError

Module = TypeVar("Module", bound=torch.nn.Module)
Value = TypeVar("Value")

DTYPES = {"f32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}


def device() -> torch.device:
    """Return PyTorch's device of the kind that JAX computes on.

    Raises:
        ConfigurationError: PyTorch has no such device; comparing different kinds of devices would mean nothing.
    """
    backend = jax.default_backend()
    if backend == "cpu":
        return torch.device("cpu")
    if backend == "gpu" and torch.cuda.is_available():
        return torch.device("cuda")
    raise ConfigurationError(
        f"JAX computes on a {backend} that this PyTorch cannot use: set JAX_PLATFORMS=cpu, or install a PyTorch for it"
    )


def device_name() -> str:
    """Return the name of the GPU, or "cpu"."""
    return torch.cuda.get_device_name() if device().type == "cuda" else "cpu"


def on_device(array: np.ndarray) -> torch.Tensor:
    """Copy an array to `device()`, and wait until it is there."""
    return finished(torch.from_numpy(array).to(device()))


def finished(tensor: Value) -> Value:
    """Wait until a tensor or a tuple of tensors is computed; calls of CUDA return before their work is done."""
    if device().type == "cuda":
        torch.cuda.synchronize()
    return tensor


def inference(work: Callable[[], Value]) -> Callable[[], Value]:
    """Return a function that does the work in inference mode and waits for the result."""

    def run() -> Value:
        with torch.inference_mode():
            return finished(work())

    return run


def inference_baselines(
    function: Callable[..., torch.Tensor], arguments: tuple[torch.Tensor, ...], settings: Settings
) -> dict[str, Contender]:
    """Return the ways in which PyTorch applies a function if no gradient is needed: eager, and compiled."""
    functions = {"eager, inference mode": function, **compiled(function, settings)}
    return {name: inference(_applied(function, arguments)) for name, function in functions.items()}


def threads() -> int:
    """Return the number of threads that PyTorch computes with on a CPU."""
    return torch.get_num_threads()


@contextmanager
def thread_count(count: int) -> Iterator[None]:
    """Compute with this number of threads inside the context."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def tuned() -> Iterator[None]:
    """Have cuDNN try its algorithms and keep the fastest inside the context, as XLA does."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def compiled(
    function: Callable[..., Value], settings: Settings, name: str = "compiled"
) -> dict[str, Callable[..., Value]]:
    """Compile a function with `torch.compile` in each of the settings' modes; return the results by baseline name."""
    return {
        title: cuda.compile_in_mode(function, mode, stand_in=settings.stand_in)
        for title, mode in compile_modes(settings, name).items()
    }


def compile_modes(settings: Settings, name: str = "compiled") -> dict[str, str]:
    """Return those of the settings' modes of `torch.compile` that this device supports, by baseline name.

    Raises:
        ConfigurationError: `torch.compile` has no such mode.
    """
    if unknown := [mode for mode in settings.modes if mode not in cuda.MODES]:
        raise ConfigurationError(f"given {', '.join(unknown)}; torch.compile has the modes {', '.join(cuda.MODES)}")
    here = [mode for mode in settings.modes if mode not in cuda.WITH_GRAPHS or has_graphs(settings)]
    return {name if mode == "default" else f"{name}, {mode}": mode for mode in here}


def has_graphs(settings: Settings) -> bool:
    """Return whether work can be captured as a CUDA graph here, or a stand-in takes the place of the graph."""
    return device().type == "cuda" or settings.stand_in


def forget_compiled() -> None:
    """Reset `torch.compile`, which gives up on a function once it has compiled it for several shapes.

    On a GPU, also release the memory that PyTorch keeps from the last case.
    """
    torch._dynamo.reset()
    if device().type == "cuda":
        cuda.give_memory_back()


def device_seconds(run: Callable[[], object]) -> float | None:
    """Return the seconds between CUDA events around one run; None if the device is not a GPU."""
    return cuda.device_seconds(run) if device().type == "cuda" else None


def forget_peak() -> None:
    """Reset the peak of the GPU memory, see `peak_bytes`; do nothing if the device is not a GPU."""
    if device().type == "cuda":
        cuda.forget_peak()


def peak_bytes() -> int | None:
    """Return the peak of the GPU memory taken by tensors since `forget_peak`; None if the device is not a GPU."""
    return cuda.peak_bytes() if device().type == "cuda" else None


def matmul(size: int, precision: str = "f32") -> Callable[[], object]:
    """Prepare the product of two `size` × `size` matrices, 2 size³ FLOPs: warm, the matrices on the device."""
    matrix = _normal((size, size), precision)
    return _ready(lambda: matrix @ matrix)


def convolution(batch: int, side: int, channels: int, precision: str = "f32") -> Callable[[], object]:
    """Prepare a 3 × 3 convolution with "same" padding of channels-last images, as many output as input channels."""
    images = _normal((batch, channels, side, side), precision)
    kernel = _normal((channels, channels, 3, 3), precision)
    x, w = (array.contiguous(memory_format=torch.channels_last) for array in (images, kernel))
    return _ready(lambda: torch.nn.functional.conv2d(x, w, padding=1))


def copy(count: int) -> Callable[[], object]:
    """Prepare adding one to `count` float32 numbers in place: 4 count bytes are read, and as many are written."""
    with torch.inference_mode():
        numbers = torch.zeros(count, device=device())
    return _ready(lambda: numbers.add_(1))


def draw_state(build: Callable[[], torch.nn.Module], seed: int) -> dict[str, np.ndarray]:
    """Return the state dict of a module as PyTorch initialises it after `torch.manual_seed(seed)`.

    The caller's random state is left unchanged.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return {name: tensor.numpy() for name, tensor in build().state_dict().items()}


def module_with(build: Callable[[], Module], state: Mapping[str, np.ndarray]) -> Module:
    """Return a module with copies of these weights, in eval mode, on `device()`."""
    module = build()
    module.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in state.items()}, strict=True)
    return module.to(device()).eval()


def _applied(function: Callable[..., Value], arguments: tuple[torch.Tensor, ...]) -> Callable[[], Value]:
    return lambda: function(*arguments)


def _normal(shape: tuple[int, ...], precision: str) -> torch.Tensor:
    """Draw normal numbers on the device; drawing hundreds of millions on the host would take seconds."""
    generator = torch.Generator(device()).manual_seed(0)
    return finished(torch.randn(shape, generator=generator, device=device(), dtype=DTYPES[precision]))


def _ready(work: Callable[[], Any]) -> Callable[[], object]:
    run = inference(work)
    run()
    return run
