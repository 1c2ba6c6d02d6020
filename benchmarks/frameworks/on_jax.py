"""JAX's side of a comparison: its device, its arrays, its part of the limits, its waiting."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mathdnn_jax.errors import ConfigurationError

PRECISION = "highest"
DTYPES: dict[str, Any] = {"f32": jnp.float32, "tf32": jnp.float32, "bf16": jnp.bfloat16}


def use_backend(backend: str | None) -> str:
    """Have JAX compute on "cpu" or "gpu", or on what it chooses itself; returns which it is.

    Raises:
        ConfigurationError: JAX has no such device here, or computes elsewhere already.
    """
    if backend is not None:
        # Beside a GPU the processor stays: callbacks, streams and weight surgery on the host compute on it.
        jax.config.update("jax_platforms", {"gpu": "cuda,cpu"}.get(backend, backend))
    try:
        found = jax.default_backend()
    except (RuntimeError, AssertionError) as error:
        # A JAX without the plugin for that device asserts, and says nothing.
        reason = (str(error).splitlines() or ["this JAX was installed without it"])[0]
        raise ConfigurationError(f"JAX cannot compute on a {backend}: {reason}") from error
    if backend is not None and found != backend:
        raise ConfigurationError(
            f"JAX computes on a {found}: it finds no {backend} that it can use, or it computed there before; then "
            f"start a process of its own for a {backend}"
        )
    return found


def threads() -> int:
    """How many threads XLA's CPU client computes with: as many as the processors that this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(os.environ.get("NPROC") or 0) or usable


def highest_precision() -> AbstractContextManager[object]:
    """Float32 matrix products in float32; on accelerators JAX's default is less."""
    precision: AbstractContextManager[object] = jax.default_matmul_precision(PRECISION)
    return precision


def on_device(array: np.ndarray) -> jax.Array:
    """The array on JAX's default device, there when this returns."""
    there: jax.Array = jax.device_put(array).block_until_ready()
    return there


def cast(tree: Any, precision: str) -> Any:
    """The tree on the device, its floating leaves in the dtype of the precision, there when this returns."""
    dtype = DTYPES[precision]

    def leaf(value: Any) -> jax.Array:
        array = jnp.asarray(value)
        return array.astype(dtype) if jnp.issubdtype(array.dtype, jnp.floating) else array

    return jax.block_until_ready(jax.device_put(jax.tree.map(leaf, tree)))


def matmul(size: int, precision: str = "f32") -> Callable[[], object]:
    """A matrix product of `size`³, 2 size³ FLOPs, ready to be timed: compiled, the matrices on the device."""
    matrix = _normal((size, size), precision)
    return _ready(jax.jit(jnp.matmul), matrix, matrix)


def convolution(batch: int, side: int, channels: int, precision: str = "f32") -> Callable[[], object]:
    """A 3 × 3 convolution, same padding, of NHWC images of equal channels in and out, ready to be timed."""
    images = _normal((batch, side, side, channels), precision)
    kernel = _normal((3, 3, channels, channels), precision)

    def convolve(x: jax.Array, w: jax.Array) -> jax.Array:
        result: jax.Array = lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return result

    return _ready(jax.jit(convolve), images, kernel)


def _normal(shape: tuple[int, ...], precision: str) -> jax.Array:
    """Normal numbers drawn on the device, since of hundreds of millions a host would be drawing for seconds."""
    draw = jax.jit(jax.random.normal, static_argnums=(1, 2))
    array: jax.Array = draw(jax.random.key(0), shape, DTYPES[precision]).block_until_ready()
    return array


def copy(count: int) -> Callable[[], object]:
    """Add one to `count` float32 numbers, in the memory where they lie: 4 count bytes read and as many written."""
    add = jax.jit(lambda x: x + 1, donate_argnums=0)
    held = [on_device(np.zeros(count, np.float32))]

    def run() -> object:
        held[0] = add(held[0])
        return held[0].block_until_ready()

    run()
    return run


def cost(lowered: Any) -> dict[str, float | None]:
    """XLA's own count for a lowered program once it is compiled: `flops`, `bytes` moved, and `temporary_bytes`.

    The body of a loop is counted once, however often it runs.
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
    """The greatest memory that arrays and programs took on the device since the process began; None where unknown."""
    statistics = jax.devices()[0].memory_stats() or {}
    return statistics.get("peak_bytes_in_use")


def _ready(function: Any, *arguments: jax.Array) -> Callable[[], object]:
    def run() -> object:
        return function(*arguments).block_until_ready()

    run()
    return run
