"""Random layer lists with random variables, and a bound on the rounding errors of their outputs."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from mathdnn_jax import nets
from mathdnn_jax.nets import Layer, Sequential

Variables = dict[str, Any]

# Blocks with 4 channels throughout, which every group count divides. Few distinct sizes keep compilation rare.
LINEAR: list[Layer] = [
    nets.Conv(4, 3),
    nets.Conv(4, 3, padding=1, groups=2),
    nets.Conv(4, (2, 3), stride=(2, 1), padding=((0, 1), (2, 0)), bias=False),
    nets.Conv(4, 2, dilation=2, groups=4),
    nets.Conv(4, 1),
    nets.ConvTranspose(4, 3, stride=2, padding=1, output_padding=1, groups=2),
    nets.ConvTranspose(4, 2, groups=4, bias=False),
    nets.ConvTranspose(4, 1),
    nets.Dense(4),
]
BETWEEN: list[Layer] = [
    nets.Relu(),
    nets.LeakyRelu(0.2),
    nets.Tanh(),
    nets.Gelu(),
    nets.MaxPool(2, 1),
    nets.AvgPool(2, 1, padding=1),
    nets.AvgPool(2, 1, padding=1, count_include_pad=False),
    nets.Upsample(2),
    nets.Dropout(),
]
NORM: list[Layer] = [nets.BatchNorm(), nets.BatchNorm(epsilon=1e-3, affine=False), nets.ScaleShift(), nets.SignBias()]
TAILS: list[list[Layer]] = [
    [],
    [nets.Flatten(), nets.Dense(3)],
    [nets.Flatten("first"), nets.Dense(3), nets.BatchNorm(), nets.Relu()],
    [nets.BatchNorm(), nets.Flatten("first"), nets.Dropout(), nets.BatchNorm(), nets.Dense(3)],
]
INPUT_SHAPE = (9, 8, 4)


@st.composite
def networks(draw: st.DrawFn) -> Sequential:
    """Layer lists in which batch norms stand before, after and between all other layers."""
    norm = st.sampled_from([nets.BatchNorm(), *NORM])
    block = st.one_of(
        st.sampled_from(LINEAR),
        norm,
        st.sampled_from(BETWEEN),
        st.tuples(st.sampled_from(LINEAR), norm),
        st.tuples(st.sampled_from(LINEAR), st.sampled_from(BETWEEN), norm),
        st.tuples(norm, st.sampled_from(LINEAR)),
    )
    blocks = draw(st.lists(block, min_size=1, max_size=4))
    layers: list[Layer] = []
    for part in blocks:
        layers += part if isinstance(part, tuple) else (part,)
    layers += draw(st.sampled_from(TAILS))
    return Sequential(layers=[(f"l{k}", layer) for k, layer in enumerate(layers)])


def random_variables(
    network: Sequential, seed: int, input_shape: tuple[int, ...] = INPUT_SHAPE, zeros: bool = True
) -> Variables:
    """Draw float64 arrays on the host: kernels of variance 1/fan-in, γ of either sign and, if `zeros`, sometimes 0."""
    rng = np.random.default_rng(seed)
    variables: Variables = {"params": {}}
    shapes = [input_shape, *network.output_shapes(input_shape).values()]
    for (name, layer), shape in zip(network.layers, shapes, strict=False):
        for collection, slots in layer.slots(shape).items():
            arrays = {key: _drawn(rng, key, slot.shape, zeros) for key, slot in slots.items()}
            variables.setdefault(collection, {})[name] = arrays
    return variables


def _drawn(rng: np.random.Generator, key: str, shape: tuple[int, ...], zeros: bool) -> np.ndarray:
    array: np.ndarray = rng.normal(size=shape)
    if key == "kernel":
        array /= np.sqrt(np.prod(shape[:-1]))
    if key == "var":
        # Also tiny ones, for which epsilon dominates.
        array = np.exp(array) * np.where(rng.random(shape) < 0.2, 1e-9, 1.0)
    if key == "scale" and zeros:
        array[rng.random(shape) < 0.2] = 0
    if key == "sign":
        array = np.sign(array)
    return array


def apply(network: Sequential, variables: Variables, x: np.ndarray, dtype: Any = np.float64) -> np.ndarray:
    """Apply the network in eval mode in the given dtype."""
    with jax.enable_x64(dtype is np.float64), jax.default_matmul_precision("highest"):
        typed = jax.tree.map(functools.partial(np.asarray, dtype=dtype), variables)
        return np.asarray(_compiled(network)(typed, x.astype(dtype)))


@functools.lru_cache(64)
def _compiled(network: Sequential) -> Any:
    return jax.jit(network.apply)


def events(seed: int, shape: tuple[int, ...] = INPUT_SHAPE, count: int = 2) -> np.ndarray:
    """Draw normal events in float64."""
    return np.random.default_rng([seed, 1]).normal(size=(count, *shape))


def rounding(network: Sequential, variables: Variables, x: np.ndarray) -> np.ndarray:
    """Bound the rounding error of the output to first order, in units of ε.

    The network is run in float64 on magnitudes: |w| |x| + |b| bounds every partial sum of a linear layer, and a sum
    of n terms errs by at most n ε of that; a batch norm adds |s| |x| + |s μ| + |β|. Activations have slopes of at most
    1.2, and |w| and |s| propagate the errors of earlier layers.
    """
    with jax.enable_x64(True):
        return np.asarray(_compiled_rounding(network)(variables, x))


@functools.lru_cache(64)
def _compiled_rounding(network: Sequential) -> Any:
    return jax.jit(functools.partial(_rounding, network))


def _rounding(network: Sequential, variables: Variables, x: jax.Array) -> jax.Array:
    magnitude = jnp.abs(x)
    error = jnp.zeros_like(magnitude)
    for name, layer in network.layers:
        params = {key: jnp.abs(a) for key, a in variables["params"].get(name, {}).items()}
        stats = variables.get("batch_stats", {}).get(name)
        carried, terms = _carried(layer, params, stats)
        if isinstance(layer, nets.Pad):
            magnitude, error = _one(layer, params, magnitude), _one(layer, params, error)
            continue
        unbiased = {key: jnp.zeros_like(a) if key == "bias" else a for key, a in params.items()}
        grown = _one(carried, unbiased, error)
        magnitude = _one(carried, params, magnitude) + _offset(layer, params, stats)
        error = 1.2 * grown + terms * magnitude
    return error


def _carried(layer: Layer, params: Variables, stats: Variables | None) -> tuple[Layer, float]:
    """Return the layer that propagates magnitudes, and the number of rounding units that it adds."""
    kernel = params.get("kernel")
    terms = 4.0 if kernel is None else float(np.prod(kernel.shape[:-1])) + 4
    if isinstance(layer, nets.BatchNorm) and stats is not None:
        scale = 1 / jnp.sqrt(stats["var"] + layer.epsilon)
        params["scale"] = scale * params.get("scale", 1.0)
        params.setdefault("bias", jnp.zeros_like(scale))
        return nets.ScaleShift(), 8.0
    if isinstance(layer, nets.AvgPool):
        return layer, 4.0 + float(np.prod(layer.kernel))
    return (nets.Dropout(), 12.0) if isinstance(layer, nets.Activation) else (layer, terms)


def _offset(layer: Layer, params: Variables, stats: Variables | None) -> Any:
    if isinstance(layer, nets.BatchNorm) and stats is not None:
        return params["scale"] * jnp.abs(stats["mean"])
    # No magnitude is added: tanh of a small number is small, and gelu of 0 is 0.
    return 0.0


def _one(layer: Layer, params: Variables, x: jax.Array) -> jax.Array:
    return layer.apply({"params": params}, x)[0]
