from __future__ import annotations

import numpy as np
import pytest

from mathdnn_jax.plots import anomaly_figure, density_figure, grid_figure, image_grid, loss_figure
from mathdnn_jax.tasks import Detection

pytest.importorskip("matplotlib", reason="pictures need matplotlib")


def test_a_grid_shows_every_pixel_once_with_rules_between() -> None:
    images = np.arange(12.0).reshape(3, 2, 2) / 11
    grid = image_grid(images, columns=2)
    assert grid.shape == (5, 5)
    np.testing.assert_array_equal(grid[:2, :2], images[0])
    np.testing.assert_array_equal(grid[:2, 3:], images[1])
    np.testing.assert_array_equal(grid[3:, :2], images[2])
    rule = grid[2, 0]
    assert 0 < rule < 1
    assert (grid[3:, 3:] == rule).all()
    assert (grid[:, 2] == rule).all()


def test_the_anomaly_figure_shows_the_extremes_and_counts_every_image() -> None:
    rng = np.random.default_rng(0)
    inlier_images, outlier_images = (rng.integers(0, 256, (30, 4, 4)).astype(np.uint8) for _ in range(2))
    inlier_log_prob, outlier_log_prob = rng.normal(size=30), rng.normal(-1e5, 3e4, size=30)
    detection = Detection(-3.0, 1, 30, 2, 30, 0.99)
    figure = anomaly_figure(
        detection, ("in", inlier_images, inlier_log_prob), ("out", outlier_images, outlier_log_prob), shown=4
    )
    histogram, *pictures = figure.axes
    heights = [patch.get_height() for patch in histogram.patches]  # type: ignore[attr-defined]
    assert sum(heights) == 60
    assert len(pictures) == 4
    least = pictures[0].images[0].get_array()
    assert least is not None
    first = inlier_images[inlier_log_prob.argmin()] / inlier_images.max()
    np.testing.assert_allclose(np.asarray(least)[:4, :4], first)
    assert "threshold -3.00 nats" in [text.get_text() for text in histogram.get_legend().get_texts()]  # type: ignore[union-attr]


def test_samples_outside_the_unit_interval_are_clipped() -> None:
    figure = grid_figure(np.full((3, 2, 2), 7.0), columns=3, title="samples")
    shown = figure.axes[0].images[0].get_array()
    assert shown is not None
    assert shown.max() == 1


def test_a_grid_of_colours() -> None:
    images = np.random.default_rng(0).random((3, 4, 5, 3))
    grid = image_grid(images, columns=3)
    assert grid.shape == (4, 17, 3)
    np.testing.assert_array_equal(grid[:, 6:11], images[1])


def test_losses_have_a_panel_of_epochs_and_one_of_steps() -> None:
    epochs = {"loss": np.array([3.0, 2.0]), "test_loss": np.array([3.5, 2.5])}
    assert len(loss_figure(epochs).axes) == 1
    first, second = loss_figure(epochs, np.array([4.0, 3.0, 2.5, 1.5])).axes
    assert [line.get_label() for line in first.lines] == ["loss", "test_loss"]
    (steps,) = second.lines
    np.testing.assert_array_equal(steps.get_xydata(), [[1, 4.0], [2, 3.0], [3, 2.5], [4, 1.5]])


def test_a_density_may_show_its_latents_beside_the_prior() -> None:
    numbers, x = np.array([0.0, 0.5, 1.0]), np.linspace(-1, 2, 4)
    assert len(density_figure(numbers, "data", x, np.ones(4), x).axes) == 2
    *_, third = density_figure(numbers, "data", x, np.ones(4), x, latents=2 * numbers).axes
    (prior,) = third.lines
    points, density = np.asarray(prior.get_xydata()).T
    np.testing.assert_allclose(density, np.exp(-(points**2) / 2) / np.sqrt(2 * np.pi))
    widths = [(patch.get_height(), patch.get_width()) for patch in third.patches]  # type: ignore[attr-defined]
    assert sum(height * width for height, width in widths) == pytest.approx(1)
    assert sum(width for _, width in widths) == pytest.approx(2)
