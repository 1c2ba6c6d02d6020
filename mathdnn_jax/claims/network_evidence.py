"""What the properties of networks share: random variables, and outputs with bounds on their rounding errors."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.claims.evidence import EPS, check_equal
from mathdnn_jax.claims.map_evidence import random_event
from mathdnn_jax.nets import (
    Activation,
    AvgPool,
    BatchNorm,
    Conv,
    ConvTranspose,
    Dense,
    Layer,
    Pad,
    ScaleShift,
    Sequential,
    SignBias,
)

Variables = dict[str, Any]


def stack(*layers: Layer) -> Sequential:
    """A network of these layers, named layer_0, layer_1, …"""
    return Sequential(layers=[(f"layer_{k}", layer) for k, layer in enumerate(layers)])


def random_variables(network: Sequential, input_shape: tuple[int, ...], seed: int) -> Variables:
    """Float64 variables: kernels with variance 1/fan-in; γ of either sign or 0; some variances far below ε."""
    rng = np.random.default_rng(seed)
    shapes = [tuple(input_shape), *network.output_shapes(input_shape).values()]
    variables: Variables = {"params": {}}
    for (name, layer), shape in zip(network.layers, shapes, strict=False):
        for collection, slots in layer.slots(shape).items():
            arrays = {key: _drawn(rng, key, slot.shape) for key, slot in slots.items() if not slot.optional}
            variables.setdefault(collection, {})[name] = arrays
    return variables


def _drawn(rng: np.random.Generator, key: str, shape: tuple[int, ...]) -> jax.Array:
    array: np.ndarray = rng.normal(size=shape)
    if key == "kernel":
        array /= np.sqrt(np.prod(shape[:-1]))
    elif key == "var":
        array = np.exp(array) * np.where(rng.random(shape) < 0.2, 1e-9, 1.0)
    elif key == "scale":
        array *= rng.random(shape) < 0.8
    elif key == "sign":
        array = np.sign(array)
    return jnp.asarray(array)


def random_events(input_shape: tuple[int, ...], seed: int, count: int = 2) -> jax.Array:
    """A batch of standard normal events, independent of the variables drawn with the same seed."""
    return random_event((count, *input_shape), seed)


PROGRAMS = 64
"""Largest number of networks whose compiled programs are kept."""


@functools.lru_cache(PROGRAMS)
def _compiled(network: Sequential) -> Callable[..., jax.Array]:
    return jax.jit(network.apply)


@functools.lru_cache(PROGRAMS)
def _compiled_with_units(network: Sequential) -> Callable[..., tuple[jax.Array, jax.Array]]:
    return jax.jit(lambda variables, x: (network.apply(variables, x), _units(network, variables, x)))


def evaluate(network: Sequential, variables: Variables, x: jax.Array) -> np.ndarray:
    """The network's output in eval mode."""
    return np.asarray(_compiled(network)(variables, x))


def with_rounding(network: Sequential, variables: Variables, x: jax.Array) -> tuple[np.ndarray, np.ndarray]:
    """The network's output in eval mode, and how far it may be from the exact output, to first order in ε.

    The bound comes from running the network on magnitudes: |w| |x| + |b| bounds every partial sum of a linear layer, a
    sum of n terms is off by at most n ε times that in any order of summation, and |w| passes earlier errors on. Eight
    more units in every layer allow for the errors of weights that surgery has computed.
    """
    output, units = _compiled_with_units(network)(variables, x)
    return np.asarray(output), EPS * np.asarray(units)


def _units(network: Sequential, variables: Variables, x: jax.Array) -> jax.Array:
    magnitude, units = jnp.abs(x), jnp.zeros_like(x)
    for name, layer in network.layers:
        params = jax.tree.map(jnp.abs, dict(variables["params"].get(name, {})))
        if isinstance(layer, Activation):
            slope = _slope(layer)
            magnitude = slope * magnitude
            units = slope * units + 8 * magnitude
        elif isinstance(layer, Pad):
            magnitude = _applied(layer, params, magnitude)
            units = _applied(layer, {"value": 8 * params["value"]}, units)
        elif isinstance(layer, Conv | ConvTranspose | Dense | BatchNorm | ScaleShift | SignBias):
            if isinstance(layer, BatchNorm):
                params = _affine_magnitudes(layer, params, variables["batch_stats"][name])
                layer = ScaleShift()
            terms = float(np.prod(params["kernel"].shape[:-1])) if "kernel" in params else 2.0
            unbiased = {key: jnp.zeros_like(array) if key == "bias" else array for key, array in params.items()}
            magnitude = _applied(layer, params, magnitude)
            units = _applied(layer, unbiased, units) + (8 + terms) * magnitude
        else:
            magnitude = _applied(layer, {}, magnitude)
            units = _applied(layer, {}, units)
            if isinstance(layer, AvgPool):
                units = units + (1 + float(np.prod(layer.kernel))) * magnitude
    return units


def _slope(activation: Activation) -> float:
    """The greatest slope of a homogeneous activation; 1 stands for those of tanh, sigmoid and GELU."""
    if not activation.homogeneous:
        return 1.0
    with jax.ensure_compile_time_eval():
        return max(abs(float(activation.function(jnp.asarray(end)))) for end in (1.0, -1.0))


def _applied(layer: Layer, params: Variables, x: jax.Array) -> jax.Array:
    return layer.apply({"params": params}, x)[0]


def _affine_magnitudes(layer: BatchNorm, params: Variables, statistics: Variables) -> Variables:
    scale = params.get("scale", 1.0) / jnp.sqrt(statistics["var"] + layer.epsilon)
    return {"scale": scale, "bias": params.get("bias", 0.0) + scale * jnp.abs(statistics["mean"])}


def check_same(
    what: str,
    given: tuple[Sequential, Variables],
    expected: tuple[Sequential, Variables],
    input_shape: tuple[int, ...],
    seed: int,
) -> None:
    """Check that two networks have the same output on random events, up to the rounding errors of both.

    Raises:
        AssertionError: an entry differs by more.
    """
    x = random_events(input_shape, seed)
    (found, bound), (wanted, wanted_bound) = (with_rounding(*network, x) for network in (given, expected))
    check_equal(what, found, wanted, bound + wanted_bound)
