from __future__ import annotations

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathdnn_jax.bijectors import dequantize, logit, quantize
from mathdnn_jax.bijectors.dequantize import _offset_bits, _place
from mathdnn_jax.errors import ConfigurationError, EventShapeError, ImageError, NonFiniteError


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("levels", [2, 3, 10, 16, 17, 100, 255, 256, 257, 1000])
def test_no_pixel_leaves_its_cell_at_the_extremes_of_the_noise(levels: int, dtype: type) -> None:
    numbers, bits = np.finfo(dtype), _offset_bits(levels, dtype)
    uniform: np.ndarray = np.array([0.0, numbers.tiny, 0.5, 1 - numbers.eps, 1 - numbers.epsneg], dtype)

    def there_and_back(x: jax.Array, u: jax.Array) -> tuple[jax.Array, jax.Array]:
        y = _place(x, u, levels, bits)
        return y, quantize(y, levels)

    with jax.enable_x64(True):
        y, back = jax.jit(there_and_back)(np.arange(levels, dtype=dtype), uniform[:, None])
    assert y.dtype == dtype
    for row, pixels in zip(np.asarray(y), back, strict=True):
        for k, value in enumerate(row):
            assert Fraction(k, levels) < Fraction(float(value)) < Fraction(k + 1, levels)
        np.testing.assert_array_equal(pixels, np.arange(levels))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32])
def test_images_come_back_and_the_noise_is_uniform(dtype: type) -> None:
    rng = np.random.default_rng(0)
    images: np.ndarray = rng.integers(0, 256 if dtype is np.uint8 else 100, (7, 28, 28, 1)).astype(dtype)
    y, log_det = dequantize(jax.random.key(0), images)
    assert (y.shape, log_det.shape) == (images.shape, (7,))
    assert y.dtype == log_det.dtype == np.float32
    np.testing.assert_allclose(log_det, -784 * np.log(256), rtol=1e-6)
    back = quantize(y)
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, images)
    u = np.asarray(y, np.float64) * 256 - images
    # 5488 numbers: mean and variance within four standard errors.
    assert abs(u.mean() - 0.5) < 4 * np.sqrt(1 / 12 / u.size)
    assert abs(u.var() - 1 / 12) < 4 * np.sqrt(1 / 180 / u.size)
    assert not np.array_equal(y, dequantize(jax.random.key(1), images)[0])


def test_black_and_white_images_may_be_booleans() -> None:
    images = np.random.default_rng(0).random((2, 3, 3, 1)) < 0.5
    for given in (images, jnp.asarray(images)):
        y, log_det = dequantize(jax.random.key(0), given, 2)
        np.testing.assert_array_equal(y, dequantize(jax.random.key(0), images.astype(np.uint8), 2)[0])
        np.testing.assert_array_equal(quantize(y, 2), images)
        np.testing.assert_allclose(log_det, -9 * np.log(2), rtol=1e-6)


def test_jit_vmap_and_other_events() -> None:
    images = jnp.arange(12, dtype=jnp.uint8).reshape(3, 4)
    y, log_det = jax.jit(lambda key, x: dequantize(key, x, 16, event_ndims=1))(jax.random.key(0), images)
    np.testing.assert_array_equal(quantize(y, 16), images)
    np.testing.assert_allclose(log_det, np.full(3, -4 * np.log(16)), rtol=1e-6)
    keys = jax.random.split(jax.random.key(0), 3)
    y, log_det = jax.vmap(lambda key, x: dequantize(key, x, 16, event_ndims=1))(keys, images)
    assert (y.shape, log_det.shape) == ((3, 4), (3,))
    assert dequantize(jax.random.key(0), np.uint8(3), 4, event_ndims=0)[1].shape == ()


@pytest.mark.parametrize(
    ("images", "levels", "ndims", "error", "words"),
    [
        (np.zeros((1, 1, 1)), 256, 3, ImageError, "integers from 0 to 255, given dtype float64"),
        (np.full((1, 1, 1), 17), 17, 3, ImageError, "given values from 17 to 17"),
        (np.full((1, 1, 1), -1), 17, 3, ImageError, "given values from -1 to -1"),
        (np.zeros((2, 4), int), 256, 3, EventShapeError, r"events of 3 axes and an array of shape \(2, 4\)"),
        (np.zeros((1, 1, 1), int), 1, 3, ConfigurationError, "levels=1 in float32"),
        (np.zeros((1, 1, 1), int), 2**20, 3, ConfigurationError, "levels=1048576 in float32"),
        (np.zeros((1, 1, 1), int), 256, -1, ConfigurationError, "event_ndims=-1"),
    ],
)
def test_anything_but_images_is_refused(
    images: np.ndarray, levels: int, ndims: int, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        dequantize(jax.random.key(0), images, levels, event_ndims=ndims)


def test_quantizing_clips_and_refuses_nan() -> None:
    np.testing.assert_array_equal(quantize(jnp.asarray([-0.1, 0.0, 0.999, 1.0, 1.3])), [0, 0, 255, 255, 255])
    np.testing.assert_array_equal(quantize(jnp.asarray([0.9, 1.0, 7.0]), 16), [14, 15, 15])
    assert quantize(jnp.asarray([0.5]), 1000).dtype == np.int32
    with pytest.raises(NonFiniteError, match="1 NaN among 2"):
        quantize(jnp.asarray([0.5, jnp.nan]))
    with pytest.raises(ConfigurationError, match="levels=1"):
        quantize(jnp.zeros(1), 1)


@pytest.mark.parametrize("alpha", [0.0, 0.05, 0.49])
def test_the_logit_is_stable_at_both_ends(alpha: float) -> None:
    made = logit((), alpha)
    forward, inverse = jax.jit(made.forward), jax.jit(made.inverse)
    with jax.enable_x64(True):
        x = np.array([1e-300, 1e-10, 0.3, 0.5, 1 - 1e-10, 1 - 2**-53])
        z, log_det = map(np.asarray, forward({}, x))
        p = [Fraction(alpha) + (1 - 2 * Fraction(alpha)) * Fraction(float(value)) for value in x]
        expected = [np.log(float(q)) - np.log(float(1 - q)) for q in p]
        np.testing.assert_allclose(z, expected, rtol=1e-13, atol=1e-15)
        slopes = [np.log1p(-2 * alpha) - np.log(float(q)) - np.log(float(1 - q)) for q in p]
        np.testing.assert_allclose(log_det, slopes, rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(inverse({}, z)[1], -log_det, rtol=1e-12, atol=1e-13)
        far = inverse({}, np.repeat([-800.0, 800.0], 3))
        assert np.isfinite(far).all()


def test_both_ends_of_the_closed_interval_are_finite_with_alpha() -> None:
    z, log_det = logit((2,)).forward({}, jnp.asarray([0.0, 1.0]))
    np.testing.assert_allclose(z, [np.log(0.05 / 0.95), np.log(0.95 / 0.05)], rtol=1e-6)
    assert np.isfinite(log_det)
    np.testing.assert_array_equal(logit((2,), 0.0).forward({}, jnp.asarray([0.0, 1.0]))[0], [-np.inf, np.inf])


@pytest.mark.parametrize("alpha", [-0.1, 0.5, float("nan")])
def test_an_alpha_that_shrinks_the_interval_to_nothing_is_refused(alpha: float) -> None:
    with pytest.raises(ConfigurationError, match=f"alpha={alpha}"):
        logit((2,), alpha)


@pytest.mark.parametrize("levels", [2, 3, 100, 255, 256, 257, 1000])
def test_quantize_is_the_cell_for_any_number_of_levels(levels: int) -> None:
    inside = np.random.default_rng(levels).random(200).astype(np.float32)
    # A product that rounds up to an integer would be another cell; numbers half-way within their cells never do.
    middle = np.asarray((np.floor(inside * levels) + 0.5) / levels, np.float32)
    outside: np.ndarray = np.array([-3.0, -1e-6, 0.0, 1.0, 1.5], np.float32)
    found = quantize(np.concatenate([middle, outside]), levels)
    cells = [int(Fraction(float(y)) * levels) for y in middle]
    np.testing.assert_array_equal(found, [*cells, 0, 0, 0, levels - 1, levels - 1])
    assert found.dtype == (np.uint8 if levels <= 256 else np.int32)
