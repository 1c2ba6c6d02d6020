"""A number for each of many images, computed in batches of one shape by one compiled program."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import jax
import numpy as np

from mathdnn_jax.bijectors import Params
from mathdnn_jax.data import unit_interval
from mathdnn_jax.errors import ConfigurationError, ImageError, NonFiniteError


def as_events(images: np.ndarray, event_shape: tuple[int, ...]) -> np.ndarray:
    """Turn images (N, H, W[, 3]), uint8 or floating on [0, 1], into events (N, *event_shape), float32 on [0, 1].

    Raises:
        ImageError: the number of pixels differs from the event's number of entries, or values are out of range.
        DataSetError: there are no images.
    """
    images = np.asarray(images)
    if len(images) and math.prod(images.shape[1:]) != math.prod(event_shape):
        raise ImageError(
            f"the model acts on events of shape {event_shape}, {math.prod(event_shape)} numbers, given images of shape "
            f"{images.shape[1:]}, {math.prod(images.shape[1:])} pixels; use a data set of the model's image size"
        )
    return unit_interval(images).reshape(len(images), *event_shape)


def evaluate_per_image(
    function: Callable[[Params, jax.Array], jax.Array],
    params: Params,
    images: np.ndarray,
    event_shape: tuple[int, ...],
    name: str,
    *,
    batch_size: int,
    precision: str,
    on_batch: Callable[[int], object] | None,
    compile_first: bool = False,
) -> tuple[np.ndarray, float]:
    """Return `function(params, events)` for all images, (N,), and the seconds it took.

    Every batch has `batch_size` images, the last one padded with zeros, and the seconds include compilation unless
    `compile_first`, which evaluates the first batch once more. `name` is what error messages call the number.

    Raises:
        ImageError, DataSetError: as in `as_events`.
        ConfigurationError: batch_size < 1.
        NonFiniteError: a number is NaN or infinite.
    """
    if batch_size < 1:
        raise ConfigurationError(f"a batch must hold at least one image, given batch_size={batch_size}")
    events = as_events(images, event_shape)
    batch_size = min(batch_size, len(events))
    compiled = jax.jit(function)

    def run(batch: np.ndarray) -> np.ndarray:
        with jax.default_matmul_precision(precision):
            return np.asarray(compiled(params, batch))

    if compile_first:
        run(np.ascontiguousarray(events[:batch_size]))
    values, seconds = [], 0.0
    for start in range(0, len(events), batch_size):
        batch = events[start : start + batch_size]
        padding = np.zeros((batch_size - len(batch), *batch.shape[1:]), batch.dtype)
        began = time.perf_counter()
        values.append(run(np.concatenate([batch, padding]))[: len(batch)])
        seconds += time.perf_counter() - began
        if on_batch is not None:
            on_batch(len(batch))
    result = np.concatenate(values)
    wrong = np.flatnonzero(~np.isfinite(result))
    if len(wrong):
        raise NonFiniteError(
            f"{name} is {result[wrong[0]]} for image {wrong[0]}, and not finite for {len(wrong)} of {len(result)} "
            f"images; the parameters or the images are outside the range of float32"
        )
    return result, seconds
