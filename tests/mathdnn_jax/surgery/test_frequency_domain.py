"""Convolutions in the frequency domain against the convolutions that they replace."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathdnn_jax.errors import ConfigurationError, ImageError
from mathdnn_jax.nets import Conv, FrequencyConv, Relu, Sequential
from mathdnn_jax.nets.kernels.frequency import kernel_spectrum
from mathdnn_jax.surgery import count_operations, frequency_domain, receptive_fields

from ...drawn import drawn

LAYERS: dict[str, Any] = {"first": Conv(3, 3), "relu": Relu(), "head": Conv(4, (9, 8)), "last": Conv(2, 1)}


def network(shape: tuple[int, int, int], dtype: Any = np.float64) -> tuple[Sequential, Any, Any, Any]:
    net = Sequential(**LAYERS)
    first = drawn(net.init, jax.ShapeDtypeStruct((1, 16, 16, 2), np.float32), scale=0.5)
    variables = jax.tree.map(lambda leaf: np.asarray(leaf, dtype), first)
    return net, variables, *frequency_domain(net, variables, shape)[:2]


@pytest.mark.parametrize("shape", [(12, 13, 2), (30, 40, 2)])
def test_the_outputs_are_the_same_on_images_of_any_size(shape: tuple[int, int, int]) -> None:
    with jax.enable_x64(True):
        net, variables, other, others = network(shape)
        assert [layer.kind for _, layer in other.layers] == ["Conv", "Relu", "FrequencyConv", "Conv"]
        apply = [jax.jit(net.apply), jax.jit(other.apply)]
        for size in (shape[:2], (25, 33)):
            x = jnp.asarray(np.random.default_rng(0).standard_normal((2, *size, 2)))
            expected, outputs = apply[0](variables, x), apply[1](others, x)
            np.testing.assert_allclose(np.asarray(outputs), np.asarray(expected), atol=1e-13)


def test_float32_stays_float32_with_about_the_same_precision() -> None:
    net, variables, other, others = network((15, 14, 2), np.float32)
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, 15, 14, 2), np.float32))
    y = jax.jit(other.apply)(others, x)
    assert isinstance(y, jax.Array)
    assert y.dtype == jnp.float32
    np.testing.assert_allclose(np.asarray(y), np.asarray(jax.jit(net.apply)(variables, x)), atol=2e-6)


def test_the_spectrum_is_the_conjugate_transform() -> None:
    kernel = np.random.default_rng(0).standard_normal((3, 4, 2, 5))
    spectrum = kernel_spectrum(kernel, (6, 7))
    expected = np.fft.rfft2(kernel, (6, 7), axes=(0, 1)).reshape(24, 2, 5).conj()
    np.testing.assert_allclose(spectrum[0] + 1j * spectrum[1], expected, atol=1e-13)


def test_the_report_states_the_memory_and_what_was_left() -> None:
    net = Sequential(**LAYERS, wide=Conv(2, 8, padding=4))
    variables = drawn(net.init, jax.ShapeDtypeStruct((1, 30, 30, 2), np.float32))
    *_, report = frequency_domain(net, variables, (30, 30, 2))
    assert report.left == ("wide",)
    entry = next(entry for entry in report.layers if entry.layer == "head")
    assert entry.action == "replaced"
    assert "18 x 16" in entry.detail
    assert "MiB" in entry.detail


def test_counts_and_fields_of_the_layer() -> None:
    net, _, other, _ = network((15, 14, 2))
    assert receptive_fields(other, (15, 14, 2)) == receptive_fields(net, (15, 14, 2))
    head = next(entry for entry in count_operations(other, (15, 14, 2)).layers if entry.layer == "head")
    assert head.multiplications == 4 * 13 * 7 * 3 * 4


def test_errors_say_what_is_needed() -> None:
    net = Sequential(first=Conv(3, 3))
    with pytest.raises(ConfigurationError, match="at least 64 taps"):
        frequency_domain(net, drawn(net.init, jax.ShapeDtypeStruct((1, 4, 4, 1), np.float32)), (4, 4, 1))
    with pytest.raises(ConfigurationError, match="at least as large as the kernel"):
        FrequencyConv(3, 8, 7)
    with pytest.raises(ImageError, match="smaller than its window of 8 x 8"):
        FrequencyConv(3, 8, 9).output_shape((7, 9, 2))
