"""Inpainting: fill in missing pixels by ascending a flow's log-likelihood, projected onto the unit interval."""

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
from mathdnn_jax.tasks.per_image import as_events
from mathdnn_jax.tasks.projected_ascent import LogProb, projected_ascent


class Inpainted(NamedTuple):
    """Images with their missing pixels filled in, and the history of log p.

    - `images`, in the shape in which they were given, float32 on [0, 1]: of the images after 0, 1, …, `steps` steps,
      the one with the greatest log p, for each image;
    - `log_prob` (steps + 1, N) in nats, before the first step and after every step.
    """

    images: np.ndarray
    log_prob: np.ndarray

    @property
    def best_step(self) -> np.ndarray:
        """The number of steps after which each image was best, (N,); `images` holds it as it was then."""
        steps: np.ndarray = np.argmax(self.log_prob, axis=0)
        return steps


@partial(jax.jit, static_argnames=("log_prob", "steps", "step_size", "momentum", "halvings"))
def _ascend(
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
        # optax counts in integers, and its schedules mix them with floats, which strict promotion forbids.
        return jnp.asarray(step_size(count.astype(x.dtype)) if callable(step_size) else step_size, x.dtype)

    # The optimiser is created inside the jitted function: a new one for each call would be compiled each time.
    optimizer = optax.sgd(schedule, momentum=momentum or None)
    return projected_ascent(
        log_prob, params, x, missing, optimizer=optimizer, steps=steps, halvings=halvings, keep_best=True
    )


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
    """Fill in the missing pixels of images by projected gradient ascent on log p, with all steps in one program.

    v ← momentum · v + ∇log p(x), x ← Π(x + step_size · v) on the missing pixels; see `projected_ascent`. A step may
    overshoot, and the result is the best x that was seen, not the last.

    Args:
        flow: the density, either on vectors (images are flattened row by row) or on images.
        params: its parameters.
        images: (N, H, W) or (N, H, W, C), uint8 or floating on [0, 1]. Their values at missing pixels are the starting
            point; see `corrupt`.
        missing: boolean, True where a pixel is missing: one mask for each image, (N, H, W[, C]), or one for all,
            (H, W[, C]).
        steps: the number of steps.
        step_size: a number, or an optax schedule that maps the index of a step to a number.
        momentum: in [0, 1).
        halvings: how often an update may be halved if log p would fall. With 0 every update is taken as it is; a fixed
            step may then overshoot, which the step of the course does half of the time.
        precision: the precision of float32 matrix products, as in `score`.

    Raises:
        ImageError, DataSetError: the images do not fit the flow, have values outside [0, 1] or NaN, or there are none.
        ConfigurationError: the mask is not boolean or has a wrong shape, or steps, step_size, momentum or halvings is
            out of range.
        NonFiniteError: log p becomes NaN or infinite; the message names the first such image and step.

    Example:
        >>> import jax, numpy as np, mathdnn_jax as mj
        >>> flow = mj.nice(dim=12, width=8)
        >>> params = flow.init(jax.random.key(0))
        >>> images = np.zeros((2, 3, 4), np.uint8)
        >>> missing = mj.tasks.rectangle((3, 4), rows=(0, 2), columns=(1, 3))
        >>> filled = mj.tasks.inpaint(flow, params, mj.tasks.corrupt(images, missing), missing, steps=5)
        >>> filled.images.shape, filled.log_prob.shape
        ((2, 3, 4), (6, 2))

    Source: course 003, P3.
    """
    images, missing = np.asarray(images), np.asarray(missing)
    _check_settings(steps, step_size, momentum, halvings)
    events = _events(flow, images)
    mask = _check_mask(missing, images.shape).reshape(events.shape)
    with jax.default_matmul_precision(precision):
        filled, log_prob = _ascend(
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
            f"log p is {history[step, image]} for image {image} after {step} steps; use a smaller step_size, or "
            f"halvings, to stay where log p fits into float32"
        )
    return Inpainted(np.asarray(filled).reshape(images.shape), history)


def corrupt(images: npt.ArrayLike, missing: npt.ArrayLike, value: float = 1.0) -> npt.NDArray[np.float32]:
    """Set the missing pixels of images to `value`, by default white as in the course.

    Returns:
        The images as float32 on [0, 1].

    Raises:
        ImageError, DataSetError: the images or the value are outside [0, 1], or there are no images.
        ConfigurationError: the mask is not boolean, or has a wrong shape.
    """
    if not 0 <= value <= 1:
        raise ImageError(f"missing pixels start in [0, 1], given value={value}")
    scaled = unit_interval(images)
    return np.where(_check_mask(np.asarray(missing), scaled.shape), np.float32(value), scaled)


def rectangle(shape: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """A mask (H, W) that is True in rows `rows[0]` to `rows[1] − 1` and columns `columns[0]` to `columns[1] − 1`.

    Raises:
        ConfigurationError: the rectangle is empty, or not inside the image.

    Example:
        >>> import mathdnn_jax as mj
        >>> mj.tasks.rectangle((2, 4), rows=(0, 1), columns=(1, 3)).astype(int)
        array([[0, 1, 1, 0],
               [0, 0, 0, 0]])
    """
    for name, (first, end), size in (("rows", rows, shape[0]), ("columns", columns, shape[1])):
        if not 0 <= first < end <= size:
            raise ConfigurationError(f"{name} {first}:{end} are not within the {size} {name} of the image, 0:{size}")
    mask = np.zeros(shape, np.bool_)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def _events(flow: Flow, images: np.ndarray) -> np.ndarray:
    if flow.bijector.event_ndims == 1:
        return as_events(images, flow.prior.event_shape)
    scaled = unit_interval(images)
    # Grey images have no channel axis in the data sets, but one channel in a flow on images.
    return scaled[..., None] if scaled.ndim == flow.bijector.event_ndims else scaled


def _check_mask(missing: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if missing.dtype != np.bool_:
        raise ConfigurationError(f"a mask must be boolean, True where a pixel is missing; given {missing.dtype}")
    if missing.shape not in (shape, shape[1:]):
        raise ConfigurationError(
            f"a mask must have the shape of the images, {shape}, or of one image, {shape[1:]}; given {missing.shape}"
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
