"""Claims about dense heads that slide as convolutions, and about operation counts: C4, C5."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.evidence import check_equal, seeds
from mathdnn_jax.claims.network_evidence import (
    Variables,
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
    """Compare the sliding network's output at every place of an image with the network's output on the patch there."""
    rows, columns = (range(0, n - size + 1, step) for n, size, step in zip(x.shape, patch, stride, strict=False))
    pieces = np.stack([np.asarray(x)[i : i + patch[0], j : j + patch[1]] for i in rows for j in columns])
    places = (len(rows), len(columns), -1)
    wanted, bound = (result.reshape(places) for result in with_rounding(*network, jnp.asarray(pieces)))
    (found,), (found_bound,) = with_rounding(*sliding, jnp.asarray(np.asarray(x)[None]))
    what = (
        f"output at (row, column, class) against the network's on the {patch[0]} × {patch[1]} patch that begins there"
    )
    check_equal(what, found, wanted, bound + found_bound)


@claim(
    "C4.net2",
    "Net2, which is Net1 with convolutions for its dense layers, has at (i, j) the output of Net1 on [i:i+s, j:j+s]",
    source="course 000, Q2; course 004, P5",
    channels=st.sampled_from([(2,), (3, 2)]),
    flatten=orders,
    seed=seeds,
)
def net2_slides(channels: Sequence[int], flatten: Flatten, seed: int) -> None:
    """Take a small Net1 for s × s images, and slide it over two by three patches."""
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
    "the convolutional form of a network without padding, whose strides have the product s, has at (i, j) the "
    "network's output on the patch that begins at (s i, s j)",
    source="course 000, Q2",
    local=_locals,
    order=orders,
    seed=seeds,
)
def strides_slide(local: tuple[tuple[int, int], Sequence[Layer]], order: Flatten, seed: int) -> None:
    """Slide the network over two by three patches."""
    stride, layers = local
    network = stack(*layers, order, Dense(5, bias=False), Relu(), Dense(3))
    patch = (8, 9)
    variables = random_variables(network, (*patch, 2), seed)
    sliding, new, _ = dense_to_conv(network, variables, (*patch, 2))
    (x,) = random_events((patch[0] + stride[0], patch[1] + 2 * stride[1], 2), seed, 1)
    _check_slides((network, variables), (sliding, new), x, patch, stride)


@claim(
    "C5.alexnet",
    "AlexNet takes 1,311,133,056 multiplications and additions in its convolutions, and 117,243,904 in its linear "
    "layers",
    source="course 004, P2",
)
def alexnet_operations() -> None:
    """Count them for one image of 224 × 224 pixels."""
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
    "an output of a convolution or a linear layer that has n inputs takes n multiplications and n − 1 additions, and "
    "one more addition if there is a bias",
    source="course 004, P2",
    hidden=st.lists(layers, min_size=1, max_size=2),
    seed=seeds,
)
def operations_by_hand(hidden: Sequence[Layer], seed: int) -> None:
    """Count while loops over single numbers compute the network's output for an image of 5 × 4 pixels."""
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
            raise AssertionError(f"{name}, {layer}: got {counted} multiplications and additions, the loops made {made}")
    (found,), (bound,) = with_rounding(network, variables, x)
    check_equal("output of the loops against the network's", y, found, 2 * bound)


def _by_hand(layer: Conv | Dense, params: Variables, x: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """The output for one event, and the multiplications and additions that it took."""
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
