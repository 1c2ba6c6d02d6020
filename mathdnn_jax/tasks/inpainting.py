"""Inpainting: fill in missing pixels by climbing a flow's log-likelihood, projected on the unit interval."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import optax

from mathdnn_jax.bijectors import Params
from mathdnn_jax.data import unit_interval
from mathdnn_jax.errors import ConfigurationError, ImageError, NonFiniteError
from mathdnn_jax.flows import Flow
from mathdnn_jax.tasks.anomaly import as_events
from mathdnn_jax.tasks.projected_ascent import LogProb, projected_ascent


class Inpainted(NamedTuple):
    """Images with their missing pixels filled in, and log p on the way.

    - `images`, of the shape they were given in, float32 on [0, 1];
    - `log_prob` (steps + 1, N) in nats: before the first step and after every step.
    """

    images: np.ndarray
    log_prob: np.ndarray


@partial(jax.jit, static_argnames=("log_prob", "steps", "step_size", "momentum", "halvings"))
def _climb(
    log_prob: LogProb,
    params: Params,
    x: jax.Array,
    missing: jax.Array,
    *,
    steps: int,
    step_size: float | optax.Schedule,
    momentum: float,
    halvings: int,
) -> tuple[jax.Array, jax.Array]:
    def schedule(count: jax.Array) -> jax.Array:
        # optax counts in integers, which its own schedules mix with floats where promotion is strict.
        return jnp.asarray(step_size(count.astype(x.dtype)) if callable(step_size) else step_size, x.dtype)

    # The optimiser is made in here: made anew for each call outside, it would be compiled for each.
    optimizer = optax.sgd(schedule, momentum=momentum or None)
    return projected_ascent(log_prob, params, x, missing, optimizer=optimizer, steps=steps, halvings=halvings)


def inpaint(
    flow: Flow,
    params: Params,
    images: npt.ArrayLike,
    missing: npt.ArrayLike,
    *,
    steps: int = 300,
    step_size: float | optax.Schedule = 1e-3,
    momentum: float = 0.0,
    halvings: int = 0,
    precision: str = "highest",
) -> Inpainted:
    """Fill in the missing pixels of images by projected gradient ascent of log p, all steps in one compiled program.

    v ← momentum · v + ∇log p(x), x ← Π(x + step_size · v) on the missing pixels, see `projected_ascent`.

    Args:
        flow: the density, on vectors (which images become, row by row) or on images.
        params: its parameters.
        images: (N, H, W) or (N, H, W, C), uint8 or floating on [0, 1]. What they hold at missing pixels is where the
            climb starts; see `corrupt`.
        missing: boolean (N, H, W[, C]), a mask for each image, or (H, W[, C]), one for all. True where a pixel is
            missing.
        steps: how many.
        step_size: a number, or an optax schedule from the step's number to one.
        momentum: in [0, 1).
        halvings: how often at most an update after which log p falls is halved. 0 takes every update as it is: a fixed
            step may then overshoot, and with the seed's it does in half of the steps.
        precision: of float32 matrix products, as `score` takes it.

    Raises:
        ImageError, DataSetError: the images are not the flow's, or not on [0, 1], or NaN, or there are none.
        ConfigurationError: the mask is not boolean or of another shape, or steps, step_size, momentum or halvings is
            impossible.
        NonFiniteError: log p is NaN or infinite on the way; the first such image and step are named.

    Source: seed 003 P3.
    """
    images, missing = np.asarray(images), np.asarray(missing)
    _check_settings(steps, step_size, momentum, halvings)
    events = _events(flow, images)
    mask = _check_mask(missing, images.shape).reshape(events.shape)
    with jax.default_matmul_precision(precision):
        filled, log_prob = _climb(
            flow.log_prob,
            params,
            jnp.asarray(events),
            jnp.asarray(mask),
            steps=steps,
            step_size=step_size,
            momentum=momentum,
            halvings=halvings,
        )
    history = np.asarray(log_prob)
    if not np.isfinite(history).all():
        step, image = np.argwhere(~np.isfinite(history))[0]
        raise NonFiniteError(
            f"log p is {history[step, image]} for image {image} after {step} steps; a smaller step_size, or halvings, "
            f"keeps a climb where the flow's density is a float32 number"
        )
    return Inpainted(np.asarray(filled).reshape(images.shape), history)


def corrupt(images: npt.ArrayLike, missing: npt.ArrayLike, value: float = 1.0) -> npt.NDArray[np.float32]:
    """Images as float32 on [0, 1] with their missing pixels at `value`; by default white, as in the seed.

    Raises:
        ImageError, DataSetError: the images are not on [0, 1], or there are none; or the value is not.
        ConfigurationError: the mask is not boolean, or of another shape.
    """
    if not 0 <= value <= 1:
        raise ImageError(f"missing pixels start on [0, 1], given value={value}")
    scaled = unit_interval(images)
    return np.where(_check_mask(np.asarray(missing), scaled.shape), np.float32(value), scaled)


def rectangle(shape: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """A mask (H, W) that is True in rows `rows[0]` to `rows[1] − 1` and columns `columns[0]` to `columns[1] − 1`.

    Raises:
        ConfigurationError: the rectangle is empty, or not inside the image.
    """
    for name, (first, end), size in (("rows", rows, shape[0]), ("columns", columns, shape[1])):
        if not 0 <= first < end <= size:
            raise ConfigurationError(f"{name} {first}:{end} are not within an image's {size} {name}, 0:{size} at most")
    mask = np.zeros(shape, np.bool_)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def _events(flow: Flow, images: np.ndarray) -> np.ndarray:
    if flow.bijector.event_ndims == 1:
        return as_events(images, flow.prior.event_shape)
    scaled = unit_interval(images)
    # Grey images have no channel axis in the data sets, and one channel in a flow on images.
    return scaled[..., None] if scaled.ndim == flow.bijector.event_ndims else scaled


def _check_mask(missing: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if missing.dtype != np.bool_:
        raise ConfigurationError(f"a mask is boolean, True where a pixel is missing; given {missing.dtype}")
    if missing.shape not in (shape, shape[1:]):
        raise ConfigurationError(
            f"a mask has the shape of the images, {shape}, or of one image, {shape[1:]}; given {missing.shape}"
        )
    return np.broadcast_to(missing, shape)


def _check_settings(steps: int, step_size: float | optax.Schedule, momentum: float, halvings: int) -> None:
    given = {"steps": steps >= 0, "halvings": halvings >= 0, "momentum": 0 <= momentum < 1}
    given["step_size"] = callable(step_size) or 0 < step_size < np.inf
    wrong = [name for name, right in given.items() if not right]
    if wrong:
        values = f"steps={steps}, step_size={step_size}, momentum={momentum}, halvings={halvings}"
        raise ConfigurationError(
            f"inpainting takes steps >= 0, step_size > 0, 0 <= momentum < 1 and halvings >= 0; "
            f"given {values}; wrong: {', '.join(wrong)}"
        )
