"""Winograd's convolution against the definition: values, gradients and accuracy."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mathdnn_jax.nets.kernels import winograd
from mathdnn_jax.nets.kernels.correlate import correlate

PADS = ((0, 1), (2, 0))


def draw(images: int, height: int, width: int, inputs: int, outputs: int) -> tuple[jax.Array, jax.Array]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((images, height, width, inputs)).astype(np.float32)
    kernel = rng.standard_normal((3, 3, inputs, outputs)) / np.sqrt(9 * inputs)
    return jnp.asarray(x), jnp.asarray(kernel.astype(np.float32))


def by_definition(x: jax.Array, kernel: jax.Array, pads: tuple[tuple[int, int], ...] = PADS) -> jax.Array:
    y: jax.Array = lax.conv_general_dilated(x, kernel, (1, 1), pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return y


def by_library(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return correlate(x, kernel, (1, 1), PADS, (1, 1), 1)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 19)])
def test_it_is_the_convolution_and_as_accurate(height: int, width: int) -> None:
    x, kernel = draw(3, height, width, 48, 40)
    assert winograd.pays(x, kernel, PADS)
    y = np.asarray(jax.jit(by_library)(x, kernel))
    with jax.enable_x64(True):
        exact = np.asarray(by_definition(jnp.asarray(x, jnp.float64), jnp.asarray(kernel, jnp.float64)))
    usual = np.abs(np.asarray(by_definition(x, kernel)) - exact).max()
    assert y.dtype == np.float32
    assert np.abs(y - exact).max() <= max(2 * usual, 8 * np.spacing(np.float32(np.abs(exact).max())))


def test_a_cpu_uses_it_for_many_channels() -> None:
    x, kernel = draw(3, 16, 16, 48, 40)
    assert "convolution" not in jax.jit(by_library).lower(x, kernel).as_text()
    assert "convolution" in jax.jit(by_library).lower(*draw(3, 16, 16, 8, 40)).as_text()


def test_a_large_batch_is_convolved_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    x, kernel = draw(5, 8, 8, 3, 4)
    tiles = 16
    monkeypatch.setattr(winograd, "ENTRIES", 2 * tiles * 16 * 7)
    pads = ((1, 1), (1, 1))
    y = jax.jit(lambda x, kernel: winograd.winograd(x, kernel, pads))(x, kernel)
    np.testing.assert_allclose(y, by_definition(x, kernel, pads), atol=2e-6)


def test_gradients_and_derivatives_are_those_of_the_definition() -> None:
    x, kernel = draw(2, 14, 14, 32, 32)
    assert winograd.pays(x, kernel, PADS)

    def derivatives(f: Any) -> Any:
        gradients = jax.grad(lambda x, k: jnp.square(f(x, k)).sum(), (0, 1))
        return jax.jit(lambda x, k: (*gradients(x, k), jax.jvp(f, (x, k), (x + 1, k))[1]))(x, kernel)

    *mine, tangent = map(np.asarray, derivatives(by_library))
    *theirs, expected = map(np.asarray, derivatives(by_definition))
    for gradient, truth in zip(mine, theirs, strict=True):
        scale = np.abs(truth).max()
        np.testing.assert_allclose(gradient / scale, truth / scale, atol=2e-6)
    np.testing.assert_allclose(tangent, expected, atol=2e-5)


def test_other_dtypes_and_kernels_are_left_to_xla() -> None:
    x, kernel = draw(3, 16, 16, 48, 40)
    assert not winograd.pays(x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16), PADS)
    assert not winograd.pays(x, jnp.ones((5, 5, 48, 40)), PADS)
    assert not winograd.pays(x[:1, :6, :6], kernel, ((0, 0), (0, 0)))
