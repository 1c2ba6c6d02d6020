"""Operation counts are exact, and receptive fields agree with perturbations of the input."""

from __future__ import annotations

import json
import math

import jax
import numpy as np
import pytest

import mathdnn_jax
from mathdnn_jax import errors, nets
from mathdnn_jax.nets import Sequential

from .random_networks import apply, random_variables


def test_alexnet_to_the_unit() -> None:
    count = mathdnn_jax.count_operations(mathdnn_jax.alexnet(), (224, 224, 3))
    assert count.convolution_operations == 1_311_133_056
    assert count.dense_operations == 117_243_904
    assert count.operations == 1_311_133_056 + 117_243_904
    assert count.parameters == 61_100_840
    by_name = {entry.layer: entry for entry in count.layers}
    assert by_name["features_0"].output_shape == (55, 55, 64)
    assert by_name["features_12"].receptive_field == (195, 195)
    assert tuple(map(int, by_name["features_12"].stride)) == (32, 32)


def test_net1_has_the_published_head() -> None:
    count = mathdnn_jax.count_operations(mathdnn_jax.net1(), (32, 32, 3))
    by_name = {entry.layer: entry for entry in count.layers}
    assert by_name["classifier_0"].parameters == 82944 * 4096 + 4096
    assert by_name["classifier_0"].receptive_field == (32, 32)
    assert by_name["flatten"].output_shape == (82944,)


def counted(layer: nets.Conv | nets.ConvTranspose, shape: tuple[int, ...]) -> tuple[int, int]:
    """Count multiplications and additions one by one, from the position of every tap."""
    n, channels = shape[0], shape[1]
    (k,), (s,), (d,) = layer.kernel, layer.strides, layer.dilations
    (m, features) = layer.output_shape(shape)
    per_output = [0] * m
    if isinstance(layer, nets.Conv):
        per_output = [k] * m
    else:
        for i in range(n):
            for t in range(k):
                place = i * s + t * d - layer.crops[0]
                if 0 <= place < m:
                    per_output[place] += 1
    terms = [taps * channels // layer.groups for taps in per_output]
    products = sum(terms) * features
    sums = sum(max(term - 1, 0) + (layer.bias and term > 0) for term in terms) * features
    return products, sums


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nets.Conv(6, (3,), stride=2, padding=1), (9, 4)),
        (nets.Conv(6, (3,), groups=2, bias=False), (9, 4)),
        (nets.ConvTranspose(6, (3,), stride=2, padding=1, output_padding=1), (5, 4)),
        (nets.ConvTranspose(6, (2,), stride=3, groups=2, bias=False), (5, 4)),
        (nets.ConvTranspose(6, (3,), dilation=2, padding=3), (7, 4)),
    ],
)
def test_every_multiplication_and_addition_counts(
    layer: nets.Conv | nets.ConvTranspose, shape: tuple[int, ...]
) -> None:
    (entry,) = mathdnn_jax.count_operations(Sequential(layer=layer), shape).layers
    assert (entry.multiplications, entry.additions) == counted(layer, shape)


def test_the_other_layers() -> None:
    network = Sequential(
        dense=nets.Dense(5, bias=False),
        bn=nets.BatchNorm(),
        scale=nets.ScaleShift(),
        sign=nets.SignBias(),
        relu=nets.Relu(),
        pool=nets.AvgPool(2),
        maximum=nets.MaxPool(2),
    )
    count = mathdnn_jax.count_operations(network, (4, 4, 3))
    entries = {e.layer: (e.multiplications, e.additions, e.parameters, e.activations) for e in count.layers}
    assert entries == {
        "dense": (16 * 15, 16 * 10, 15, 80),
        "bn": (80, 80, 10, 80),
        "scale": (80, 80, 10, 80),
        "sign": (0, 80, 10, 80),
        "relu": (0, 0, 0, 80),
        "pool": (20, 60, 0, 20),
        "maximum": (0, 0, 0, 5),
    }
    assert count.parameters == 45
    assert count.activations == 5 * 80 + 20 + 5


NETWORKS = [
    Sequential(a=nets.Conv(2, (3,)), b=nets.Conv(2, (2,), stride=2), c=nets.Conv(1, (3,), dilation=2)),
    Sequential(a=nets.Conv(2, (3,), stride=2), b=nets.AvgPool((2,), 3), c=nets.Relu(), d=nets.Conv(1, (2,))),
    Sequential(a=nets.Conv(2, (3,)), up=nets.Upsample((2,)), c=nets.Conv(1, (3,))),
    Sequential(a=nets.ConvTranspose(2, (4,), stride=2), b=nets.Conv(1, (3,))),
    Sequential(a=nets.Conv(2, (5,)), flat=nets.Flatten(), b=nets.Dense(3), c=nets.Dense(2)),
]


@pytest.mark.parametrize("network", NETWORKS)
def test_receptive_fields_agree_with_perturbations(network: Sequential) -> None:
    length = 32
    # With positive weights nothing cancels, and a ReLU is the identity.
    variables = jax.tree.map(lambda leaf: np.abs(leaf) + 0.1, random_variables(network, 0, (length, 1)))
    # One pixel is raised in each event but the first.
    x = np.concatenate([np.ones((1, length, 1)), 1 + np.eye(length)[..., None]])
    output = apply(network, variables, x).reshape(
        length + 1, -1, network.output_shapes((length, 1))[network.layers[-1][0]][-1]
    )
    seen = (np.abs(output[1:] - output[:1]).max(-1) > 1e-9).T
    view = list(mathdnn_jax.surgery.receptive_fields(network, (length, 1)).values())[-1]
    extents = [np.ptp(np.flatnonzero(row)) + 1 for row in seen]
    assert max(extents) == view.receptive_field[0]
    if len(seen) > 8:
        middle = [np.flatnonzero(row)[0] for row in seen[2:-2]]
        step = (middle[-1] - middle[0]) / (len(middle) - 1)
        assert abs(step - view.stride[0]) * (len(middle) - 1) <= 1


def test_the_count_is_json_and_a_table() -> None:
    network = Sequential(up=nets.Upsample(2), conv=nets.Conv(2, 3))
    count = mathdnn_jax.count_operations(network, (4, 4, 1))
    written = json.loads(json.dumps(count.as_dict()))
    assert written["layers"][0]["stride"] == ["1/2", "1/2"]
    assert written["operations"] == count.operations == 2 * 9 * math.prod((6, 6, 2))
    assert f"{count.operations:,}" in count.describe()


def test_the_error_for_too_small_images_names_the_layer() -> None:
    with pytest.raises(errors.ImageError, match="features_2"):
        mathdnn_jax.count_operations(mathdnn_jax.net1(), (8, 8, 3))
