"""Claims about batch norm, its running statistics and its removal: C1, C2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.evidence import EPS, check_equal, seeds
from mathdnn_jax.claims.network_evidence import (
    Variables,
    check_same,
    random_variables,
    stack,
)
from mathdnn_jax.errors import ImageError
from mathdnn_jax.nets import (
    AvgPool,
    BatchNorm,
    Conv,
    ConvTranspose,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LeakyRelu,
    MaxPool,
    Relu,
    ScaleShift,
    SignBias,
    Tanh,
    Upsample,
    small_net,
)
from mathdnn_jax.surgery import remove_batch_norm

batches = st.sampled_from([(2, 1), (16, 2), (2, 1, 3, 2), (3, 4, 4, 3)])
"""Shapes of whole batches, channels last, with 2 to 48 numbers for each channel."""


def _batch(shape: tuple[int, ...], seed: int, offset: float) -> np.ndarray:
    return offset + np.random.default_rng((seed, 1)).normal(size=shape)


def _moments(x: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """n, and the mean and the biased variance of each channel."""
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axes)
    return x.size // x.shape[-1], mean, np.square(x - mean).mean(axes)


@claim(
    "C1.running_variance",
    "train mode: y = γ (x − m)/√(v + ε) + β with the batch's biased variance v = Σ (x − m)²/n, and running mean ← "
    "0.9 running mean + 0.1 m, running variance ← 0.9 running variance + 0.1 v n/(n − 1)",
    source="course 001, P1; course 004, P3",
    shape=batches,
    seed=seeds,
    offset=st.sampled_from([0.0, -3.0, 100.0]),
)
def running_statistics(shape: tuple[int, ...], seed: int, offset: float) -> None:
    """Compare the output and the new statistics with the formulas, up to what the rounded mean allows."""
    variables = random_variables(stack(BatchNorm()), shape[1:], seed)
    params, old = variables["params"]["layer_0"], variables["batch_stats"]["layer_0"]
    x = _batch(shape, seed, offset)
    y, updated = _normalised(variables, x)
    new = updated["batch_stats"]["layer_0"]

    n, mean, variance = _moments(x)
    # Errors of the mean, of a deviation, and of the variance, the mean of their squares; each is made on both sides.
    mean_error = 2 * EPS * n * np.abs(x).max()
    deviation_error = mean_error + 2 * EPS * np.abs(x).max()
    deviation = np.abs(x - mean)
    variance_error = 2 * EPS * (n + 4) * variance + (2 * deviation.max() + deviation_error) * deviation_error
    check_equal("running mean", np.asarray(new["mean"]), *_averaged(old["mean"], mean, mean_error))
    unbiased = n / (n - 1)
    check_equal(
        "running variance",
        np.asarray(new["var"]),
        *_averaged(old["var"], unbiased * variance, unbiased * variance_error),
    )
    scale = np.asarray(params["scale"]) / np.sqrt(variance + 1e-5)
    relative = 8 * EPS + variance_error / (variance + 1e-5)
    bound = np.abs(scale) * (deviation_error + deviation * relative) + 8 * EPS * np.abs(params["bias"])
    check_equal("output", np.asarray(y), scale * (x - mean) + np.asarray(params["bias"]), bound)


@jax.jit
def _normalised(variables: Variables, x: jax.Array) -> Any:
    """A batch norm's output in train mode, and its updated variables."""
    return stack(BatchNorm()).apply(variables, x, train=True, mutable=["batch_stats"])


def _averaged(running: jax.Array, batch: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """0.9 old + 0.1 batch, and how far another computation of it may differ."""
    old = np.asarray(running)
    return 0.9 * old + 0.1 * batch, 0.1 * error + 8 * EPS * (np.abs(old) + np.abs(batch))


@claim(
    "C1.flax",
    "flax.linen.BatchNorm with momentum 0.9 keeps the same running variance as PyTorch with 0.1",
    source="course 001, P1",
    verdict="refuted",
    shape=st.sampled_from([(2, 1), (3, 4, 4, 3)]),
    seed=st.integers(0, 9),
)
def flax_keeps_the_unbiased_variance(shape: tuple[int, ...], seed: int) -> None:
    """Take one step of both, starting from a running variance of 1."""
    x = _batch(shape, seed, 0.0)
    n, _, variance = _moments(x)
    kept, wanted = float(_flax_variance(x)[0]), 0.9 + 0.1 * variance[0] * n / (n - 1)
    if abs(kept - wanted) > 1e-6:
        raise AssertionError(
            f"after n = {n} numbers with the biased variance v = {variance[0]:.6g}, Flax's running variance goes from "
            f"1 to {kept:.6g} = 0.9 + 0.1 v, PyTorch's to {wanted:.6g} = 0.9 + 0.1 v n/(n − 1)"
        )


@jax.jit
def _flax_variance(x: jax.Array) -> jax.Array:
    """The running variance of Flax's batch norm after a step from 1."""
    module = nn.BatchNorm(use_running_average=False, momentum=0.9, use_scale=False, use_bias=False)
    start = {"mean": jnp.zeros(x.shape[-1]), "var": jnp.ones(x.shape[-1])}
    # Flax's module promotes implicitly.
    with jax.numpy_dtype_promotion("standard"):
        _, updated = module.apply({"batch_stats": start}, x, mutable=["batch_stats"])
    variance: jax.Array = updated["batch_stats"]["var"]
    return variance


# Always four channels, so that every number of groups divides them, and few sizes, so that few programs are compiled.
linear_layers = st.sampled_from(
    [
        Conv(4, 3, padding=1, groups=2),
        Conv(4, (3, 2), padding=((0, 2), (1, 0)), bias=False),
        Conv(4, 2, stride=(2, 1), dilation=2, groups=4),
        ConvTranspose(4, 3, padding=1, groups=2),
        ConvTranspose(4, (1, 2), stride=(1, 2), padding=(0, 1), groups=4, bias=False),
        Dense(4),
    ]
)
norms = st.sampled_from([BatchNorm(), BatchNorm(), BatchNorm(epsilon=1e-3, affine=False), ScaleShift(), SignBias()])
between = st.sampled_from(
    [
        Relu(),
        LeakyRelu(0.2),
        Tanh(),
        MaxPool(3, 1, padding=1),
        AvgPool(3, 1, padding=1),
        AvgPool(3, 1, padding=1, count_include_pad=False),
        Upsample((1, 2)),
        Dropout(),
    ]
)
EVENT = (6, 5, 4)


@claim(
    "C2.folding",
    "a linear layer with w̃ = γ/√(σ²+ε) w, b̃ = γ (b − μ)/√(σ²+ε) + β equals the linear layer with w, b followed by the "
    "batch norm",
    source="course 001, P1; course 004, P3",
    layer=linear_layers,
    seed=seeds,
)
def folding(layer: Conv | ConvTranspose | Dense, seed: int) -> None:
    """Compare the folded weights with the formula, and the two outputs."""
    network = stack(layer, BatchNorm())
    variables = random_variables(network, EVENT, seed)
    folded, new, _ = remove_batch_norm(network, variables)
    if len(folded.layers) != 1:
        raise AssertionError(f"layers that remain: {', '.join(left.kind for _, left in folded.layers)}")
    linear, gamma, beta = variables["params"]["layer_0"], *map(variables["params"]["layer_1"].get, ("scale", "bias"))
    mean, variance = map(variables["batch_stats"]["layer_1"].get, ("mean", "var"))
    scale, bias = np.asarray(gamma / jnp.sqrt(variance + 1e-5)), linear.get("bias", jnp.zeros(4))
    # The last axis of every kernel is the output channels.
    kernel, shift = np.asarray(linear["kernel"]) * scale, scale * np.asarray(bias - mean) + np.asarray(beta)
    made = new["params"]["layer_0"]
    check_equal("w̃", np.asarray(made["kernel"]), kernel, 16 * EPS * np.abs(kernel))
    size = np.abs(scale) * np.asarray(jnp.abs(bias) + jnp.abs(mean)) + np.abs(beta)
    check_equal("b̃", np.asarray(made["bias"]), shift, 16 * EPS * size)
    check_same("folded against original", (folded, new), (network, variables), EVENT, seed)


@claim(
    "C2.before",
    "a batch norm x ↦ s x + t before a linear layer folds into it with w̃ = w s and b̃ = b + Σ w t, and with padding by "
    "−t/s instead of zeros",
    source="course 001, P1",
    layer=st.sampled_from(
        [Conv(4, (3, 2), groups=2), Conv(4, 3, padding=1, groups=2), Conv(2, 2, padding=((1, 0), (0, 2))), Dense(3)]
    ),
    seed=seeds,
)
def folding_before(layer: Conv | Dense, seed: int) -> None:
    """Compare the outputs; a scale of 0 maps nothing to the padded zeros, and then the batch norm may stay."""
    network = stack(BatchNorm(), layer)
    variables = random_variables(network, EVENT, seed)
    without, new, report = remove_batch_norm(network, variables)
    pads = isinstance(layer, Conv) and any(low or high for low, high in layer.pads)
    if report.left and not (pads and (variables["params"]["layer_0"]["scale"] == 0).any()):
        raise AssertionError(f"batch norms stay: {report.describe()}")
    check_same("folded against original", (without, new), (network, variables), EVENT, seed)


def _fits(layers: Sequence[Layer]) -> bool:
    try:
        stack(*layers).output_shapes(EVENT)
    except ImageError:
        return False
    return True


_blocks = st.one_of(
    st.tuples(linear_layers, norms),
    st.tuples(linear_layers, between, norms),
    st.tuples(norms, linear_layers),
    st.tuples(norms, between),
)
_heads = st.sampled_from([(), (Flatten(), Dense(3)), (BatchNorm(), Flatten("first"), Dense(3), BatchNorm(), Relu())])
_stacks = st.builds(
    lambda blocks, head: [layer for block in [*blocks, head] for layer in block],
    st.lists(_blocks, min_size=1, max_size=3),
    _heads,
).filter(_fits)


@claim(
    "C2.stacks",
    "removing batch norms does not change the function of a stack of layers, wherever they are in it",
    source="course 001, P1; course 004, P3; course 000, Q1",
    layers=_stacks,
    seed=seeds,
)
def stacks(layers: Sequence[Layer], seed: int) -> None:
    """Compare the outputs; the report must name the batch norms that could not be removed."""
    network = stack(*layers)
    variables = random_variables(network, EVENT, seed)
    without, new, report = remove_batch_norm(network, variables)
    left = tuple(name for name, layer in without.layers if isinstance(layer, BatchNorm))
    if left != report.left:
        raise AssertionError(f"the network keeps {left}, the report names {report.left}")
    check_same("without batch norms against with", (without, new), (network, variables), EVENT, seed)


@claim(
    "C2.small_net",
    "smallNet with its batch norms folded has four linear layers, each followed by a ReLU, and is the same function",
    source="course 001, P1; course 004, P3",
    flatten=st.sampled_from(["last", "first"]),
    seed=seeds,
)
def small_net_folded(flatten: str, seed: int) -> None:
    """Fold the batch norms of a narrow smallNet for small images."""
    network = small_net(channels=4, hidden=5, classes=3, flatten="first" if flatten == "first" else "last")
    variables = random_variables(network, EVENT, seed)
    folded, new, _ = remove_batch_norm(network, variables)
    kinds, wanted = ([layer.kind for _, layer in net.layers] for net in (folded, small_net(batch_norm=False)))
    if kinds != wanted:
        raise AssertionError(f"got layers {kinds}, expected {wanted}")
    check_same("folded smallNet against smallNet", (folded, new), (network, variables), EVENT, seed)
