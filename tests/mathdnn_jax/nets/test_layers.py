"""Every layer against PyTorch's own, and the errors for wrong input."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathdnn_jax import errors, nets
from mathdnn_jax.nets.layers.layer import Layer
from mathdnn_jax.nets.shapes import Shape

from .torch_twins import torch_apply

LAYERS: list[tuple[Layer, Shape]] = [
    (nets.Conv(6, 3), (7, 9, 4)),
    (nets.Conv(6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2), (7, 9, 4)),
    (nets.Conv(6, 3, padding=((0, 2), (1, 0)), bias=False), (7, 9, 4)),
    (nets.Conv(4, (2, 4), padding="same", dilation=(3, 1), groups=4), (7, 9, 4)),
    (nets.Conv(5, 1, stride=2), (7, 9, 4)),
    (nets.Conv(5, 1, padding=1), (4, 4, 3)),
    (nets.Conv(5, (3,), stride=2), (11, 3)),
    (nets.Conv(3, (2, 3, 2), padding=1), (4, 4, 4, 2)),
    (nets.Conv(3, 9), (9, 9, 2)),
    (nets.Conv(3, 9, stride=(2, 3), padding=(1, 0)), (14, 15, 2)),
    (nets.Conv(3, (70,), stride=3), (83, 2)),
    (nets.ConvTranspose(6, 3), (4, 5, 4)),
    (nets.ConvTranspose(6, (3, 4), stride=(2, 3), padding=(1, 2), output_padding=(1, 2), groups=2), (4, 5, 4)),
    (nets.ConvTranspose(6, 3, dilation=(2, 1), bias=False, groups=2), (4, 5, 4)),
    (nets.ConvTranspose(4, 2, stride=3, padding=2), (4, 5, 4)),
    (nets.ConvTranspose(2, (4,), stride=2, padding=1), (5, 3)),
    (nets.Dense(5), (6,)),
    (nets.Dense(5, bias=False), (2, 3, 6)),
    (nets.BatchNorm(), (4, 5, 3)),
    (nets.BatchNorm(epsilon=0.1, affine=False), (7,)),
    (nets.Relu(), (4, 3)),
    (nets.LeakyRelu(0.2), (4, 3)),
    (nets.Tanh(), (4, 3)),
    (nets.Sigmoid(), (4, 3)),
    (nets.Gelu(), (4, 3)),
    (nets.Gelu(approximate=True), (4, 3)),
    (nets.MaxPool(3, 2), (7, 9, 4)),
    (nets.MaxPool((2, 3), padding=1), (7, 9, 4)),
    (nets.AvgPool(2), (7, 9, 4)),
    (nets.AvgPool(3, (2, 1), padding=1), (7, 9, 4)),
    (nets.AvgPool((4, 3), 2, padding=(2, 1), count_include_pad=False), (7, 9, 4)),
    (nets.Flatten(), (3, 4, 5)),
    (nets.Flatten("first"), (3, 4, 5)),
    (nets.Upsample((2, 3)), (3, 4, 5)),
    (nets.Dropout(0.3), (4, 3)),
]


def drawn(layer: Layer, event_shape: Shape, seed: int) -> tuple[dict[str, dict[str, np.ndarray]], np.ndarray]:
    """Arrays for the layer, variances positive, and a batch of three events, in float64."""
    rng = np.random.default_rng(seed)
    values = {
        collection: {
            name: rng.uniform(0.1, 3, slot.shape) if name == "var" else rng.normal(size=slot.shape)
            for name, slot in slots.items()
        }
        for collection, slots in layer.slots(event_shape).items()
    }
    return values, rng.normal(size=(3, *event_shape))


@pytest.mark.parametrize(("layer", "event_shape"), LAYERS, ids=lambda value: repr(value)[:60])
def test_a_layer_is_pytorchs(layer: Layer, event_shape: Shape) -> None:
    pytest.importorskip("torch")
    values, x = drawn(layer, event_shape, seed=0)
    truth = torch_apply(layer, {name: a for arrays in values.values() for name, a in arrays.items()}, x)
    fan_in = max([int(np.prod(a.shape[:-1])) for a in values.get("params", {}).values()], default=1) + 8
    for dtype in (np.float64, np.float32):
        with jax.enable_x64(dtype is np.float64):
            typed = jax.tree.map(functools.partial(np.asarray, dtype=dtype), values)
            y, update = jax.jit(layer.apply)(typed, x.astype(dtype))
        assert update == {}
        assert y.dtype == dtype
        assert y.shape == (3, *layer.output_shape(event_shape))
        magnitude = max(np.abs(x).max(), 1) * max(
            [np.abs(a).max() for a in values.get("params", {}).values()], default=1
        )
        np.testing.assert_allclose(np.asarray(y), truth, rtol=0, atol=4 * fan_in * magnitude * np.finfo(dtype).eps)


def test_a_layer_keeps_the_dtype_of_its_input() -> None:
    for layer, event_shape in LAYERS:
        values, x = drawn(layer, event_shape, seed=0)
        # Running statistics stay in float32 beside parameters and images in bfloat16.
        kinds = {"params": jnp.bfloat16, "batch_stats": jnp.float32}
        typed = {
            name: jax.tree.map(functools.partial(jnp.asarray, dtype=kinds[name]), part) for name, part in values.items()
        }
        assert jax.eval_shape(layer.apply, typed, jnp.asarray(x, jnp.bfloat16))[0].dtype == jnp.bfloat16, layer


SIZES = st.integers(1, 3)


@given(
    kernel=st.tuples(SIZES, SIZES),
    stride=st.tuples(SIZES, SIZES),
    dilation=st.tuples(SIZES, SIZES),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    groups=st.sampled_from([1, 2]),
    transposed=st.booleans(),
    seed=st.integers(0, 99),
)
def test_convolutions_of_any_sizes_are_pytorchs(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, int],
    groups: int,
    transposed: bool,
    seed: int,
) -> None:
    pytest.importorskip("torch")
    make: Callable[..., Layer] = nets.ConvTranspose if transposed else nets.Conv
    layer = make(4, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups)
    event_shape = (7, 8, 2)
    values, x = drawn(layer, event_shape, seed)
    try:
        shape = layer.output_shape(event_shape)
    except errors.ImageError:
        with pytest.raises(RuntimeError):
            torch_apply(layer, values["params"], x)
        return
    with jax.enable_x64(True):
        y, _ = jax.jit(layer.apply)(values, x)
    assert y.shape[1:] == shape
    np.testing.assert_allclose(np.asarray(y), torch_apply(layer, values["params"], x), rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore:Using padding=.same.:UserWarning")
def test_same_padding_is_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    layer, event_shape = nets.Conv(2, (4, 3), dilation=(1, 2), padding="same"), (6, 7, 1)
    values, x = drawn(layer, event_shape, seed=2)
    module = torch.nn.Conv2d(1, 2, (4, 3), dilation=(1, 2), padding="same", dtype=torch.float64)
    module.weight.data = torch.from_numpy(np.moveaxis(values["params"]["kernel"], (-1, -2), (0, 1)).copy())
    module.bias.data = torch.from_numpy(values["params"]["bias"])
    truth = module(torch.from_numpy(np.moveaxis(x, -1, 1).copy())).detach().numpy()
    with jax.enable_x64(True):
        y, _ = jax.jit(layer.apply)(values, x)
    np.testing.assert_allclose(np.asarray(y), np.moveaxis(truth, 1, -1), rtol=0, atol=1e-13)


def test_patches_row_by_row_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    # If the patches of an image would take too much memory, the output is computed one row at a time.
    layer, event_shape = nets.Conv(3, 9, stride=(2, 3), padding=(1, 0)), (14, 15, 2)
    values, x = drawn(layer, event_shape, seed=1)
    with jax.enable_x64(True):
        whole, _ = jax.jit(layer.apply)(values, x)
        monkeypatch.setattr("mathdnn_jax.nets.kernels.correlate.PATCH_ENTRIES", 0)
        rows, _ = jax.jit(lambda values, x: layer.apply(values, x))(values, x)
    assert rows.shape == whole.shape
    np.testing.assert_allclose(np.asarray(rows), np.asarray(whole), rtol=0, atol=1e-12)


def test_activations_have_pytorchs_derivatives_at_zero() -> None:
    for layer, slope in [(nets.Relu(), 0.0), (nets.LeakyRelu(0.25), 0.25)]:
        assert float(jax.grad(layer.function)(0.0)) == slope


@pytest.mark.parametrize("layer", [nets.Relu(), nets.LeakyRelu(0.3), nets.LeakyRelu(-2.0), nets.LeakyRelu(1.5)])
def test_homogeneous_activations_are(layer: nets.Activation) -> None:
    x = np.linspace(-2, 2, 9, dtype=np.float32)
    assert layer.homogeneous
    function = jax.jit(layer.function)
    np.testing.assert_array_equal(function(4 * x), 4 * np.asarray(function(x)))


@pytest.mark.parametrize("layer", [nets.Tanh(), nets.Sigmoid(), nets.Gelu()])
def test_the_others_are_not(layer: nets.Activation) -> None:
    x = np.linspace(-2, 2, 9, dtype=np.float32)
    assert not layer.homogeneous
    function = jax.jit(layer.function)
    assert np.abs(np.asarray(function(4 * x)) - 4 * np.asarray(function(x))).max() > 0.1


def test_dropout_keeps_the_mean_and_the_share() -> None:
    layer, x = nets.Dropout(0.25), jnp.full((200, 200), 3.0)
    y, _ = jax.jit(functools.partial(layer.apply, train=True))({}, x, key=jax.random.key(0))
    kept = np.asarray(y) != 0
    np.testing.assert_allclose(np.asarray(y)[kept], 4.0)
    # Six standard deviations of the share of 40,000 draws.
    assert abs(kept.mean() - 0.75) < 6 * np.sqrt(0.25 * 0.75 / kept.size)
    same, _ = layer.apply({}, x)
    assert same is x


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: nets.Conv(0, 3), "features"),
        (lambda: nets.Conv(4, 0), "kernel_size"),
        (lambda: nets.Conv(4, (3, 3, 3, 3)), "spatial axes"),
        (lambda: nets.Conv(4, 3, stride=0), "stride"),
        (lambda: nets.Conv(4, 3, stride=(1, 2, 3)), "stride"),
        (lambda: nets.Conv(4, 3, padding=-1), "padding"),
        (lambda: nets.Conv(4, 3, padding="full"), "padding"),  # type: ignore[arg-type]
        (lambda: nets.Conv(4, 3, stride=2, padding="same"), "stride 1"),
        (lambda: nets.Conv(4, 3, groups=3), "groups=3"),
        (lambda: nets.Conv(2.5, 3), "whole number"),  # type: ignore[arg-type]
        (lambda: nets.ConvTranspose(4, 3, output_padding=1), "output_padding"),
        (lambda: nets.Dense(0), "features"),
        (lambda: nets.BatchNorm(epsilon=-1e-5), "epsilon"),
        (lambda: nets.BatchNorm(epsilon=float("nan")), "epsilon"),
        (lambda: nets.BatchNorm(momentum=1.5), "momentum"),
        (lambda: nets.MaxPool(3, padding=2), "half"),
        (lambda: nets.AvgPool(0), "kernel_size"),
        (lambda: nets.Upsample(0), "factor"),
        (lambda: nets.Dropout(1.0), "rate"),
        (lambda: nets.Flatten("middle"), "middle"),  # type: ignore[arg-type]
        (lambda: nets.Pad(3), "pair"),  # type: ignore[arg-type]
    ],
)
def test_impossible_layers_are_refused(make: Callable[[], Layer], named: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=named):
        make()


@pytest.mark.parametrize(
    ("layer", "event_shape", "error"),
    [
        (nets.Conv(4, 3), (2, 5, 3), errors.ImageError),
        (nets.Conv(4, 3, dilation=2), (4, 5, 3), errors.ImageError),
        (nets.Conv(4, 3), (5, 3), errors.EventShapeError),
        (nets.Conv(4, 3, groups=2), (5, 5, 3), errors.EventShapeError),
        (nets.ConvTranspose(4, 1, padding=2), (3, 3, 1), errors.ImageError),
        (nets.ConvTranspose(4, 3, groups=2), (5, 5, 3), errors.EventShapeError),
        (nets.MaxPool(3), (2, 2, 3), errors.ImageError),
        (nets.AvgPool(3), (4,), errors.EventShapeError),
        (nets.Upsample(2), (4,), errors.EventShapeError),
        (nets.Pad(((1, 1),)), (4, 4, 3), errors.EventShapeError),
    ],
)
def test_events_that_do_not_fit_are_refused(layer: Layer, event_shape: Shape, error: type[Exception]) -> None:
    with pytest.raises(error):
        layer.output_shape(event_shape)


def test_pad_puts_each_channels_value_around_it() -> None:
    layer = nets.Pad(((1, 0), (0, 2)))
    x = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)
    y, _ = jax.jit(layer.apply)({"params": {"value": np.array([-7, 9], np.float32)}}, x)
    expected = np.stack([np.pad(x[0, ..., c], layer.padding, constant_values=v) for c, v in [(0, -7), (1, 9)]], -1)
    np.testing.assert_array_equal(np.asarray(y)[0], expected)
    assert y.shape[1:] == layer.output_shape((2, 2, 2))
