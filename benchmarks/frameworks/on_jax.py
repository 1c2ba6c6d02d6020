"""JAX's side of a comparison: its device, its arrays, its share of the limits, waiting for results."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mathdnn_jax.errors import ConfigurationError

DTYPES: dict[str, Any] = {"f32": jnp.float32, "tf32": jnp.float32, "bf16": jnp.bfloat16}


def use_backend(backend: str | None) -> str:
    """Have JAX compute on "cpu" or "gpu", or on the device that it prefers if None; return the backend in use.

    Raises:
        ConfigurationError: JAX has no such device here, or already computes on another one.
    """
    if backend is not None:
        # The CPU stays available beside a GPU: callbacks, streams and weight surgery on the host compute on it.
        jax.config.update("jax_platforms", {"gpu": "cuda,cpu"}.get(backend, backend))
    try:
        found = jax.default_backend()
    except (RuntimeError, AssertionError) as error:
        # Without the plugin for a device, JAX raises an AssertionError that has no message.
        reason = (str(error).splitlines() or ["JAX was installed without support for it"])[0]
        raise ConfigurationError(f"JAX cannot compute on a {backend}: {reason}") from error
    if backend is not None and found != backend:
        raise ConfigurationError(
            f"JAX computes on a {found}: it finds no {backend} that it can use, or it has already computed on the "
            f"{found}; in that case, start a new process for the {backend}"
        )
    return found


def backend() -> str:
    """Return the kind of device that JAX computes on: "cpu", "gpu" or "tpu"."""
    return jax.default_backend()


def device_kind() -> str:
    """Return the name of the device's model, or "cpu"."""
    kind: str = jax.devices()[0].device_kind
    return kind


def threads() -> int:
    """Return the number of threads of XLA's CPU client: one for each processor that this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(os.environ.get("NPROC") or 0) or usable


def on_device(array: np.ndarray) -> jax.Array:
    """Copy an array to JAX's default device, and wait until it is there."""
    there: jax.Array = jax.device_put(array).block_until_ready()
    return there


def cast(tree: Any, precision: str) -> Any:
    """Copy a tree to the device, its floating-point leaves in the dtype of the precision, and wait for it."""
    dtype = DTYPES[precision]

    def leaf(value: Any) -> jax.Array:
        array = jnp.asarray(value)
        return array.astype(dtype) if jnp.issubdtype(array.dtype, jnp.floating) else array

    return jax.block_until_ready(jax.device_put(jax.tree.map(leaf, tree)))


def matmul(size: int, precision: str = "f32") -> Callable[[], object]:
    """Prepare the product of two `size` × `size` matrices, 2 size³ FLOPs: compiled, the matrices on the device."""
    matrix = _normal((size, size), precision)
    return _ready(jax.jit(jnp.matmul), matrix, matrix)


def convolution(batch: int, side: int, channels: int, precision: str = "f32") -> Callable[[], object]:
    """Prepare a 3 × 3 convolution with "same" padding of NHWC images, with as many output as input channels."""
    images = _normal((batch, side, side, channels), precision)
    kernel = _normal((3, 3, channels, channels), precision)

    def convolve(x: jax.Array, w: jax.Array) -> jax.Array:
        result: jax.Array = lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return result

    return _ready(jax.jit(convolve), images, kernel)


def copy(count: int) -> Callable[[], object]:
    """Prepare adding one to `count` float32 numbers in place: 4 count bytes are read, and as many are written."""
    add = jax.jit(lambda x: x + 1, donate_argnums=0)
    held = [on_device(np.zeros(count, np.float32))]

    def run() -> object:
        held[0] = add(held[0])
        return held[0].block_until_ready()

    run()
    return run


def cost(lowered: Any) -> dict[str, float | None]:
    """Compile a lowered program and return XLA's own count: `flops`, `bytes` moved, and `temporary_bytes`.

    XLA counts the body of a loop once, however often it runs.
    """
    compiled = lowered.compile()
    analysis: Any = compiled.cost_analysis() or {}
    analysis = analysis[0] if isinstance(analysis, list) else analysis
    memory = compiled.memory_analysis()
    return {
        "flops": analysis.get("flops"),
        "bytes": analysis.get("bytes accessed"),
        "temporary_bytes": getattr(memory, "temp_size_in_bytes", None),
    }


def peak_bytes() -> int | None:
    """Return the peak of the device memory taken since the process began; None if the device does not report it."""
    statistics = jax.devices()[0].memory_stats() or {}
    return statistics.get("peak_bytes_in_use")


def forget_compiled() -> None:
    """Drop all compiled programs."""
    jax.clear_caches()


def _normal(shape: tuple[int, ...], precision: str) -> jax.Array:
    """Draw normal numbers on the device; drawing hundreds of millions on the host would take seconds."""
    draw = jax.jit(jax.random.normal, static_argnums=(1, 2))
    array: jax.Array = draw(jax.random.key(0), shape, DTYPES[precision]).block_until_ready()
    return array


def _ready(function: Any, *arguments: jax.Array) -> Callable[[], object]:
    def run() -> object:
        return function(*arguments).block_until_ready()

    run()
    return run
