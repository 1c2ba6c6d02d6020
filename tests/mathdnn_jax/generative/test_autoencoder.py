from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathdnn_jax import autoencoder
from mathdnn_jax.errors import ConfigurationError, DataSetError, EventShapeError, ImageError, NonFiniteError
from mathdnn_jax.tasks import detect_by_error, error_threshold, reconstruction_errors

from ...drawn import drawn

MODEL = autoencoder((9, 5, 2))
PARAMS = drawn(MODEL.init)
reconstruction_error = jax.jit(MODEL.reconstruction_error)


def test_it_is_the_network_of_the_course() -> None:
    params = jax.eval_shape(autoencoder().init, jax.random.key(0))
    shapes = {part: [params[part][f"dense_{k}"]["kernel"].shape for k in range(3)] for part in ("encoder", "decoder")}
    assert shapes == {"encoder": [(784, 256), (256, 128), (128, 32)], "decoder": [(32, 128), (128, 256), (256, 784)]}


def test_it_computes_the_formula() -> None:
    x = np.random.default_rng(0).random((4, 9)).astype(np.float32)

    def dense(part: str, k: int, h: np.ndarray) -> np.ndarray:
        layer = PARAMS[part][f"dense_{k}"]
        return np.asarray(h @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"], np.float64))

    code = np.maximum(dense("encoder", 1, np.maximum(dense("encoder", 0, x), 0)), 0)
    back = 1 / (1 + np.exp(-dense("decoder", 1, np.maximum(dense("decoder", 0, code), 0))))
    np.testing.assert_allclose(jax.jit(MODEL.encode)(PARAMS, x), code, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jax.jit(MODEL.reconstruct)(PARAMS, x), back, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(MODEL.decode)(PARAMS, code.astype(np.float32)), back, rtol=1e-5)
    errors = np.asarray(reconstruction_error(PARAMS, x))
    np.testing.assert_allclose(errors, np.square(x - back).mean(-1), rtol=1e-5)
    for k in range(4):
        np.testing.assert_allclose(reconstruction_error(PARAMS, x[k]), errors[k], rtol=1e-5)


@given(count=st.sampled_from([1, 3, 4, 15, 28]), batch_size=st.sampled_from([1, 4, 7, 100]))
def test_errors_do_not_depend_on_the_batch_size(count: int, batch_size: int) -> None:
    images = np.random.default_rng(count).integers(0, 256, (count, 3, 3)).astype(np.uint8)
    events = images.reshape(count, 9).astype(np.float32) / np.float32(255)
    told: list[int] = []
    found = reconstruction_errors(MODEL, PARAMS, images, batch_size=batch_size, on_batch=told.append)
    np.testing.assert_allclose(found, reconstruction_error(PARAMS, events), rtol=1e-5)
    assert sum(told) == count


@given(seed=st.integers(0, 1000), inliers=st.integers(1, 17), outliers=st.integers(1, 17))
def test_anomalies_are_above_the_threshold_and_rates_are_by_images(seed: int, inliers: int, outliers: int) -> None:
    rng = np.random.default_rng(seed)
    validation, inlier, outlier = rng.random(23), 3 * rng.random(inliers), 3 * rng.random(outliers)
    threshold = validation.mean() + 3 * validation.std(ddof=1)
    inlier[0] = error_threshold(validation)  # an error equal to the threshold is not an anomaly
    found = detect_by_error(validation, inlier, outlier)
    assert found.threshold == error_threshold(validation) == pytest.approx(threshold)
    assert (found.type_1_errors, found.type_1_total) == ((inlier > found.threshold).sum(), inliers)
    assert (found.type_2_errors, found.type_2_total) == ((outlier <= found.threshold).sum(), outliers)
    pairs = outlier[:, None] - inlier
    assert found.auroc == pytest.approx((pairs > 0).mean() + 0.5 * (pairs == 0).mean())


def test_bad_input_is_named() -> None:
    images = np.zeros((3, 3, 3), np.uint8)
    for widths in ((784,), (), (784, 0)):
        with pytest.raises(ConfigurationError, match="the widths of its input and its code"):
            autoencoder(widths)
    with pytest.raises(ImageError, match="4 pixels"):
        reconstruction_errors(MODEL, PARAMS, np.zeros((3, 2, 2), np.uint8))
    with pytest.raises(ConfigurationError, match="batch_size=0"):
        reconstruction_errors(MODEL, PARAMS, images, batch_size=0)
    with pytest.raises(DataSetError, match="no images"):
        reconstruction_errors(MODEL, PARAMS, images[:0])
    with pytest.raises(EventShapeError, match="acts on events of shape"):
        jax.eval_shape(MODEL.encode, PARAMS, np.zeros(8, np.float32))
    broken = jax.tree.map(lambda leaf: np.full(leaf.shape, np.nan, np.float32), PARAMS)
    with pytest.raises(NonFiniteError, match="the reconstruction error is nan for image 0, and not finite for 3 of 3"):
        reconstruction_errors(MODEL, broken, images)
