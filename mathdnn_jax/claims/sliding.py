"""Claims about dense heads that slide as convolutions, and about what networks cost: C4, C5."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.evidence import seeds
from mathdnn_jax.claims.network_evidence import (
    Variables,
    check_within,
    random_events,
    random_variables,
    stack,
    with_rounding,
)
from mathdnn_jax.nets import (
    AvgPool,
    BatchNorm,
    Conv,
    Dense,
    Flatten,
    Layer,
    LeakyRelu,
    MaxPool,
    Relu,
    Sequential,
    alexnet,
    net1,
    net2,
)
from mathdnn_jax.surgery import count_operations, dense_to_conv

orders = st.sampled_from([Flatten("last"), Flatten("first")])


def _check_slides(
    network: tuple[Sequential, Variables],
    sliding: tuple[Sequential, Variables],
    x: jax.Array,
    patch: tuple[int, int],
    stride: tuple[int, int],
) -> None:
    """Compare the sliding network's output for an image, at every place, with the network's on the patch there."""
    rows, columns = (range(0, n - size + 1, step) for n, size, step in zip(x.shape, patch, stride, strict=False))
    pieces = np.stack([np.asarray(x)[i : i + patch[0], j : j + patch[1]] for i in rows for j in columns])
    places = (len(rows), len(columns), -1)
    wanted, bound = (result.reshape(places) for result in with_rounding(*network, jnp.asarray(pieces)))
    (found,), (found_bound,) = with_rounding(*sliding, jnp.asarray(np.asarray(x)[None]))
    what = f"output at (row, column, class) against the network on the {patch[0]} x {patch[1]} patch that begins there"
    check_within(what, found, wanted, bound + found_bound)


@claim(
    "C4.net2",
    "Net2, which is Net1 with convolutions for its dense layers, has at (i, j) the output of Net1 on [i:i+s, j:j+s]",
    source="000 Q2, 004 P5",
    channels=st.sampled_from([(2,), (3, 2)]),
    flatten=orders,
    seed=seeds,
)
def net2_slides(channels: Sequence[int], flatten: Flatten, seed: int) -> None:
    """Take a small Net1 for s × s images, and slide over two by three patches."""
    head = len(channels)
    size = 7 + 2 * (len(channels) - 1) + head - 1
    network = net1(channels=channels, hidden=4, classes=3, flatten=flatten.channels)
    variables = random_variables(network, (size, size, 3), seed)
    sliding, new, _ = dense_to_conv(network, variables, (size, size, 3))
    if sliding != net2(channels=channels, hidden=4, classes=3, head_size=head):
        raise AssertionError(f"not Net2: {sliding.layers}")
    (x,) = random_events((size + 1, size + 2, 3), seed, 1)
    _check_slides((network, variables), (sliding, new), x, (size, size), (1, 1))


_locals = st.sampled_from(
    [
        ((2, 1), (Conv(4, (3, 2), stride=(2, 1)), LeakyRelu())),
        ((2, 2), (Conv(4, 2, dilation=(2, 1), bias=False), MaxPool(2))),
        ((2, 4), (Conv(4, 2, stride=(1, 2), groups=2), BatchNorm(), AvgPool((2, 3), 2), Dense(4))),
    ]
)


@claim(
    "C4.strides",
    "of any network that does not pad, its strides having the product s, the convolutional form has at (i, j) the "
    "network's output on the patch that begins at (s i, s j)",
    source="000 Q2",
    local=_locals,
    order=orders,
    seed=seeds,
)
def strides_slide(local: tuple[tuple[int, int], Sequence[Layer]], order: Flatten, seed: int) -> None:
    """Slide over two by three patches."""
    stride, layers = local
    network = stack(*layers, order, Dense(5, bias=False), Relu(), Dense(3))
    patch = (8, 9)
    variables = random_variables(network, (*patch, 2), seed)
    sliding, new, _ = dense_to_conv(network, variables, (*patch, 2))
    (x,) = random_events((patch[0] + stride[0], patch[1] + 2 * stride[1], 2), seed, 1)
    _check_slides((network, variables), (sliding, new), x, patch, stride)


@claim(
    "C5.alexnet",
    "AlexNet takes 1,311,133,056 multiplications and additions in its convolutions, 117,243,904 in its linear layers",
    source="004 P2",
)
def alexnet_operations() -> None:
    """Count them for one image of 224 × 224."""
    count = count_operations(alexnet(), (224, 224, 3))
    found = count.convolution_operations, count.dense_operations
    if found != (1_311_133_056, 117_243_904):
        raise AssertionError(f"{found[0]:,} in convolutions and {found[1]:,} in linear layers")


layers = st.sampled_from(
    [
        Conv(2, 3, padding=1),
        Conv(2, (2, 3), stride=(2, 1), padding=((0, 1), (1, 1)), bias=False),
        Conv(2, 2, dilation=(2, 1), padding=1, groups=2),
        Dense(2, bias=False),
        Dense(2),
    ]
)


@claim(
    "C5.formula",
    "an output of a convolution or linear layer with n inputs takes n multiplications and n − 1 additions, and one "
    "more for a bias",
    source="004 P2",
    hidden=st.lists(layers, min_size=1, max_size=2),
    seed=seeds,
)
def operations_by_hand(hidden: Sequence[Layer], seed: int) -> None:
    """Count while an image of 5 × 4 pixels goes through loops over numbers, which have the network's output."""
    network = stack(*hidden, Flatten(), Dense(3))
    shape = (5, 4, 2)
    variables, x = random_variables(network, shape, seed), random_events(shape, seed, 1)
    y = np.asarray(x[0])
    for entry, (name, layer) in zip(count_operations(network, shape).layers, network.layers, strict=True):
        made = 0, 0
        if isinstance(layer, Conv | Dense):
            y, made = _by_hand(layer, variables["params"][name], y)
        else:
            y = y.reshape(-1)
        if made != (entry.multiplications, entry.additions):
            counted = entry.multiplications, entry.additions
            raise AssertionError(f"{name}, a {layer}: {counted} multiplications and additions counted, {made} made")
    (found,), (bound,) = with_rounding(network, variables, x)
    check_within("by hand", y, found, 2 * bound)


def _by_hand(layer: Conv | Dense, params: Variables, x: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """One event's output, and the multiplications and additions that it took."""
    kernel, ndims = np.asarray(params["kernel"]), x.ndim - 1
    strides, dilations, groups = (1,) * ndims, (1,) * ndims, 1
    if isinstance(layer, Conv):
        strides, dilations, groups = layer.strides, layer.dilations, layer.groups
        x = np.pad(x, (*layer.pads, (0, 0)))
    else:
        # A dense layer is a convolution by one pixel.
        kernel = kernel.reshape((1,) * ndims + kernel.shape)
    reaches = [d * (k - 1) + 1 for d, k in zip(dilations, kernel.shape, strict=False)]
    starts = [range(0, n - reach + 1, s) for n, reach, s in zip(x.shape, reaches, strides, strict=False)]
    *extents, per_group, features = kernel.shape
    y = np.zeros((*map(len, starts), features))
    multiplications = additions = 0
    for place, feature in itertools.product(np.ndindex(y.shape[:-1]), range(features)):
        first = feature // (features // groups) * per_group
        total = None
        for *tap, channel in np.ndindex(*extents, per_group):
            pixel = [starts[a][i] + dilations[a] * tap[a] for a, i in enumerate(place)]
            product = kernel[(*tap, channel, feature)] * x[(*pixel, first + channel)]
            multiplications += 1
            additions += total is not None
            total = product if total is None else total + product
        if layer.bias:
            total, additions = total + params["bias"][feature], additions + 1
        y[(*place, feature)] = total
    return y, (multiplications, additions)


CLAIMS = (net2_slides, strides_slide, alexnet_operations, operations_by_hand)
