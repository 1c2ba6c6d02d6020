"""The digits and the photographs."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import sklearn.datasets

from mathdnn_jax.data import load
from mathdnn_jax.data.sklearn_sources import PATCHES_PER_PHOTOGRAPH, STRIDE

# round(255 v / 16) for v in 0..16, by hand: 127.5 goes to the even 128.
LEVELS = [0, 16, 32, 48, 64, 80, 96, 112, 128, 143, 159, 175, 191, 207, 223, 239, 255]


def test_digits_are_scaled_and_split_in_order() -> None:
    original = sklearn.datasets.load_digits()
    train, test = load("digits", "train"), load("digits", "test")
    assert train.images.shape == (1200, 8, 8)
    assert test.images.shape == (597, 8, 8)
    images = np.concatenate([train.images, test.images])
    np.testing.assert_array_equal(images, np.array(LEVELS)[original.images.astype(int)])
    np.testing.assert_array_equal(np.concatenate([train.labels, test.labels]), original.target)


def test_the_digits_do_not_change() -> None:
    test = load("digits")
    assert test.labels[:8].tolist() == [7, 7, 3, 5, 1, 0, 0, 2]
    digest = hashlib.sha256(test.images.tobytes()).hexdigest()
    assert digest == "abc74b093ed11dc448bd854ebddb7c19cc7bfd1b54c9a64a11a5e0625ed2e412"


def test_photographs_have_the_values_of_the_digits() -> None:
    photographs, digits = load("photographs"), load("digits")
    assert np.unique(photographs.images).tolist() == np.unique(digits.images).tolist() == LEVELS


def varied_patches(name: str) -> list[np.ndarray]:
    """The patches of a photograph in reading order, pixel by pixel, without those of one flat value."""
    picture = sklearn.datasets.load_sample_image(name)
    patches = []
    for top in range(0, 427 - 7, 8):
        for left in range(0, 640 - 7, 8):
            red, green, blue = (picture[top : top + 8, left : left + 8, c].astype(int) for c in range(3))
            thousandths = 299 * red + 587 * green + 114 * blue
            patch = np.array([[LEVELS[round(16 * int(v) / 255_000)] for v in row] for row in thousandths])
            if len(np.unique(patch)) > 1:
                patches.append(patch)
    return patches


@pytest.mark.parametrize(("split", "first"), [("test", 0), ("train", 500)])
def test_a_photograph_is_cut_into_patches(split: str, first: int) -> None:
    dataset = load("photographs", split)
    assert dataset.images.shape == (1000, 8, 8)
    assert np.bincount(dataset.labels).tolist() == [500, 500]
    for label, name in enumerate(["china.jpg", "flower.jpg"]):
        patches = varied_patches(name)
        mine = dataset.images[dataset.labels == label]
        for k in (0, 1, 250, 499):
            np.testing.assert_array_equal(mine[k], patches[2621 * (first + k) % len(patches)])


@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
def test_no_patch_is_taken_twice_and_any_first_ones_are_spread_evenly(name: str) -> None:
    count = len(varied_patches(name))
    numbers = STRIDE * np.arange(2 * PATCHES_PER_PHOTOGRAPH) % count
    assert len(set(numbers.tolist())) == 1000
    shares = np.histogram(numbers[:100], bins=5, range=(0, count))[0]
    assert shares.min() >= 15
    assert shares.max() <= 25


def test_photographs_alternate() -> None:
    assert load("photographs").labels[:6].tolist() == [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize("name", ["digits", "photographs"])
def test_loading_twice_gives_the_same(name: str) -> None:
    first, second = load(name), load(name)
    np.testing.assert_array_equal(first.images, second.images)
    # Of its own, so that a caller who writes into it spoils nothing.
    assert not np.shares_memory(first.images, second.images)
