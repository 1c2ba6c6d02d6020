"""Scaling to the unit interval."""

from __future__ import annotations

import re

import hypothesis.extra.numpy as npst
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathdnn_jax.data import unit_interval
from mathdnn_jax.data.torchvision_import import import_torchvision_datasets
from mathdnn_jax.errors import DataSetError, ImageError

ALL_BYTES = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)


def test_bytes_are_divided_by_255_in_float32() -> None:
    scaled = unit_interval(ALL_BYTES)
    assert scaled.dtype == np.float32
    assert scaled.shape == ALL_BYTES.shape
    assert scaled.min() == 0
    assert scaled.max() == 1
    # The float32 nearest to the quotient: float64 has digits enough to round twice without harm here.
    np.testing.assert_array_equal(scaled, (ALL_BYTES.astype(np.float64) / 255).astype(np.float32))


def test_bytes_become_what_torchvision_makes_of_them() -> None:
    pytest.importorskip("torch", reason="compares with torchvision, which needs torch")
    import_torchvision_datasets()
    transforms = pytest.importorskip("torchvision.transforms", reason="compares with torchvision")
    expected = transforms.ToTensor()(ALL_BYTES.reshape(16, 16, 1)).numpy()
    np.testing.assert_array_equal(unit_interval(ALL_BYTES).reshape(1, 16, 16), expected)


@given(
    npst.arrays(
        st.sampled_from([np.float16, np.float32, np.float64]),
        npst.array_shapes(max_dims=4, max_side=4),
        elements={"min_value": 0, "max_value": 1},
    )
)
def test_floats_of_the_unit_interval_are_kept(images: npt.NDArray[np.floating]) -> None:
    scaled = unit_interval(images)
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled, images.astype(np.float32))
    assert scaled.min() >= 0
    assert scaled.max() <= 1


def test_jax_arrays_are_images_too() -> None:
    np.testing.assert_array_equal(unit_interval(jnp.asarray(ALL_BYTES)), unit_interval(ALL_BYTES))


@pytest.mark.parametrize("bad", [-1e-7, 1 + 1e-6, 255.0, np.nan, np.inf, -np.inf])
def test_one_float_outside_is_refused(bad: float) -> None:
    images = np.linspace(0, 1, 64).reshape(1, 8, 8)
    images[0, 3, 4] = bad
    with pytest.raises(ImageError, match=r"float64 with values from .* expected floats in \[0, 1\].*scale them"):
        unit_interval(images)


def test_the_message_gives_the_range() -> None:
    with pytest.raises(ImageError, match=re.escape("from 0.5 to 2.0")):
        unit_interval(np.array([0.5, 2.0]))


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint16, np.bool_, np.complex64, object])
def test_other_types_are_refused(dtype: type) -> None:
    with pytest.raises(ImageError, match=rf"{np.dtype(dtype)}.*expected uint8 on 0..255 or floats.*convert"):
        unit_interval(np.ones((1, 8, 8), dtype=dtype))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64])
def test_an_empty_array_is_refused(dtype: type) -> None:
    with pytest.raises(DataSetError, match=re.escape("(0, 28, 28)")):
        unit_interval(np.zeros((0, 28, 28), dtype=dtype))
