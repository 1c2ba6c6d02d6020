"""The cases of a check: small descriptions that hypothesis can shrink, and the arrays that they describe.

Every number is a float32 number, so that a case is the same point in float32 and in float64.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.testing.support import Support

Tree = Any
"""A parameter tree or a context: nested containers of arrays, or None if there is none."""

REACH = 20.0
"""The largest absolute value of an entry before `Support.place`."""


class TreeDraw(NamedTuple):
    """The float leaves of an example tree: unchanged (scale 0), or moved by noise, or moved and multiplied.

    The noise has standard deviation scale / √fan_in, where fan_in counts the entries of all axes but the last. The
    factors lie between 1/8 and 8 and have either sign, so that an example of ones has negative, large and small values.
    """

    scale: float = 0.0
    multiplied: bool = False
    seed: int = 0


class EventDraw(NamedTuple):
    """Entries on the whole line before `Support.place`: `shift` + `scale` · normal(seed), or `entries` if given."""

    scale: float = 0.0
    shift: float = 0.0
    seed: int = 0
    entries: tuple[float, ...] | None = None


class Case(NamedTuple):
    """One case: parameters, context, an event, and a latent if the support of the latents is known."""

    params: Tree
    context: Tree
    x: np.ndarray
    z: np.ndarray | None


def event(draw: EventDraw, shape: tuple[int, ...], support: Support) -> np.ndarray:
    """Return the event that a draw describes, inside its support."""
    if draw.entries is not None:
        line = np.reshape(draw.entries, shape)
    else:
        noise = np.random.default_rng(draw.seed).normal(size=shape)
        line = draw.shift + np.round(draw.scale * noise * 2**16) / 2**16
    return support.place(np.clip(line, -REACH, REACH))


def tree(draw: TreeDraw, example: Tree) -> Tree:
    """Return the tree that a draw makes of an example. Leaves that are not floating-point stay as they are."""
    rng = np.random.default_rng(draw.seed)

    def move(leaf: Any) -> Any:
        if not is_float(leaf):
            return leaf
        value = np.asarray(leaf, np.float64)
        if draw.scale:
            fan_in = max(1, int(np.prod(value.shape[:-1])))
            steps = np.round(rng.normal(size=value.shape) * draw.scale / np.sqrt(fan_in) * 256)
            # Odd multiples of 2⁻⁹ never take a round number to zero, where a scale would have no logarithm.
            value = value + (2 * steps + 1) / 512
        if draw.multiplied:
            value = value * np.exp2(rng.uniform(-3, 3, value.shape)) * rng.choice([-1.0, 1.0], value.shape)
        return float32(value)

    return jax.tree.map(move, example)


def is_float(leaf: Any) -> bool:
    """Return whether a leaf is a floating-point number or array of NumPy, JAX or Python."""
    if isinstance(leaf, float):
        return True
    dtype = getattr(leaf, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, np.floating)


def float32(value: Any) -> np.ndarray:
    """Return the nearest float32 numbers as float64. Numbers beyond the range of float32 become infinite."""
    with np.errstate(over="ignore"):
        return np.asarray(np.asarray(value, np.float32), np.float64)
