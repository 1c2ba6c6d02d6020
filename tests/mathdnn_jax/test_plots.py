from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mathdnn_jax.plots import (
    anomaly_figure,
    density_figure,
    grid_figure,
    image_grid,
    inpainting_figure,
    loss_figure,
)
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


def labelled(axes: Any) -> None:
    """Axes that are fit to be published: named, with units, and a title."""
    assert all((axes.get_xlabel(), axes.get_ylabel(), axes.get_title()))


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6, 10, 13])
def test_the_inpainting_figure_has_no_empty_place_and_a_curve_for_each_image(count: int) -> None:
    images = np.zeros((count, 3, 4))
    log_prob = np.random.default_rng(0).normal(size=(6, count))
    *pictures, history = inpainting_figure(images, images, images, log_prob, [f"no {k}" for k in range(count)]).axes
    labelled(history)
    assert "nats" in history.get_ylabel()
    curves = [line for line in history.lines if len(np.asarray(line.get_xdata())) > 1]
    best = [line for line in history.lines if len(np.asarray(line.get_xdata())) == 1]
    assert len({(line.get_color(), line.get_linestyle()) for line in curves}) == count
    assert [line.get_xdata()[0] for line in best] == log_prob.argmax(0).tolist()  # type: ignore[index]
    for axes in pictures:
        assert axes.get_title()
        shown = np.asarray(axes.images[0].get_array())
        places = ((shown.shape[0] + 1) // 4) * ((shown.shape[1] + 1) // 5)
        assert places == count or count > 10
        # What is left over is white paper.
        assert set(np.unique(shown)) <= {0.0, 0.55, 1.0}
        frames = [(patch.get_edgecolor(), patch.get_xy()) for patch in axes.patches]  # type: ignore[attr-defined]
        assert len(set(frames)) == count
    assert (history.get_legend() is not None) == (count <= 12)


def test_the_loss_figure_names_its_axes_and_tells_curves_apart() -> None:
    values = np.linspace(2, 1, 5)
    figure = loss_figure(
        {"loss": values, "accuracy": values / 2, "validation_loss": values + 1, "validation_accuracy": values / 3}
    )
    losses, accuracies = figure.axes
    assert losses.get_ylabel() == "loss in nats"
    assert losses.get_title()
    assert (accuracies.get_xlabel(), accuracies.get_ylabel()) == ("epoch", "accuracy")
    for axes in (losses, accuracies):
        assert len({(line.get_color(), line.get_linestyle(), line.get_marker()) for line in axes.lines}) == 2
        assert [text.get_text().split()[0] for text in axes.get_legend().get_texts()][1] == "validation"  # type: ignore[union-attr]
    (only,) = loss_figure({"loss": values[:1]}, "mean squared error").axes
    assert only.get_ylabel() == "loss in mean squared error"
    low, high = only.get_xlim()
    assert [tick for tick in only.get_xticks() if low <= tick <= high] == [1]


def test_the_density_figure_names_its_axes() -> None:
    x = np.linspace(-1, 1, 9)
    for axes in density_figure(x, "test", x, np.exp(-x * x), x).axes:
        labelled(axes)


def test_losses_have_a_panel_of_epochs_and_one_of_steps() -> None:
    epochs = {"loss": np.array([3.0, 2.0]), "test_loss": np.array([3.5, 2.5])}
    assert len(loss_figure(epochs).axes) == 1
    first, second = loss_figure(epochs, steps=np.array([4.0, 3.0, 2.5, 1.5])).axes
    assert [line.get_label() for line in first.lines] == ["loss", "test loss"]
    labelled(second)
    (steps,) = second.lines
    np.testing.assert_array_equal(steps.get_xydata(), [[1, 4.0], [2, 3.0], [3, 2.5], [4, 1.5]])


def test_a_density_may_show_its_latents_beside_the_prior() -> None:
    numbers, x = np.array([0.0, 0.5, 1.0]), np.linspace(-1, 2, 4)
    assert len(density_figure(numbers, "data", x, np.ones(4), x).axes) == 2
    *_, third = density_figure(numbers, "data", x, np.ones(4), x, latents=2 * numbers).axes
    labelled(third)
    (prior,) = third.lines
    points, density = np.asarray(prior.get_xydata()).T
    np.testing.assert_allclose(density, np.exp(-(points**2) / 2) / np.sqrt(2 * np.pi))
    widths = [(patch.get_height(), patch.get_width()) for patch in third.patches]  # type: ignore[attr-defined]
    assert sum(height * width for height, width in widths) == pytest.approx(1)
    assert sum(width for _, width in widths) == pytest.approx(2)
