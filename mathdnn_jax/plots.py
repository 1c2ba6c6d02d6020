"""Plots as matplotlib figures, without global state."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mathdnn_jax.errors import MissingDependencyError
from mathdnn_jax.tasks import Detection

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INLIER, OUTLIER, THRESHOLD = "#2a6f97", "#e07a1f", "#222222"


def image_grid(images: np.ndarray, columns: int) -> np.ndarray:
    """Arrange images (N, H, W[, 3]) in one image of rows of `columns`, with grey lines between them and grey fill."""
    count, height, width, *colour = images.shape
    rows = -(-count // columns)
    # Neither black nor white, so that the edges of an all-black or all-white image are visible.
    grid = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1, *colour), 0.55)
    for k, image in enumerate(images):
        top, left = (k // columns) * (height + 1), (k % columns) * (width + 1)
        grid[top : top + height, left : left + width] = image
    return grid


def grid_figure(images: np.ndarray, columns: int, title: str) -> Figure:
    """Plot images (N, H, W), or (N, H, W, 3), on [0, 1] in rows of `columns`."""
    grid = image_grid(np.clip(images, 0, 1), columns)
    width = 7.0
    figure = _figure(width, width * grid.shape[0] / grid.shape[1] + 0.4)
    _show(figure.add_subplot(), grid, title)
    return figure


def anomaly_figure(
    detection: Detection,
    inlier: tuple[str, np.ndarray, np.ndarray],
    outlier: tuple[str, np.ndarray, np.ndarray],
    shown: int = 10,
) -> Figure:
    """Plot histograms of log p with the threshold, above the most and the least likely images of both sets.

    Args:
        detection: The result of the detection.
        inlier: Name of the set, its images (N, H, W[, 3]) on [0, 1] or uint8, and its log-likelihoods (N,) in nats.
        outlier: The same for the outliers.
        shown: Number of images shown at each end.
    """
    figure = _figure(9.0, 6.4)
    layout = figure.add_gridspec(3, 2, height_ratios=(3.2, 1, 1))
    _histograms(figure.add_subplot(layout[0, :]), detection, inlier, outlier)
    for row, (name, images, log_prob) in enumerate((inlier, outlier), start=1):
        order = np.argsort(log_prob)
        for column, (end, indices) in enumerate((("least", order[:shown]), ("most", order[::-1][:shown]))):
            span = f"log p {log_prob[indices].min():,.0f} to {log_prob[indices].max():,.0f}"
            picture = image_grid(images[indices] / images.max(initial=1), columns=max(1, shown // 2))
            _show(figure.add_subplot(layout[row, column]), picture, f"{name}: {end} likely, {span}")
    return figure


def inpainting_figure(
    original: np.ndarray, corrupted: np.ndarray, reconstruction: np.ndarray, log_prob: np.ndarray
) -> Figure:
    """Plot images (N, H, W) on [0, 1] in three columns, beside log p (steps + 1, N) in nats after every step."""
    figure = _figure(9.0, 3.2)
    panels = figure.subplots(1, 4, width_ratios=(1, 1, 1, 1.5))
    columns = math.ceil(math.sqrt(len(original)))
    titles = ("original", "corrupted", "reconstruction")
    for axes, images, title in zip(panels, (original, corrupted, reconstruction), titles, strict=False):
        _show(axes, image_grid(np.clip(images, 0, 1), columns), title)
    panels[3].plot(log_prob, color=INLIER, linewidth=0.8, alpha=max(0.15, 1 / len(original)))
    panels[3].set_xlabel("steps")
    panels[3].set_title("log p(x) in nats", fontsize=8)
    return figure


def loss_figure(epochs: Mapping[str, np.ndarray], steps: np.ndarray | None = None) -> Figure:
    """Plot the values of every epoch, {name: (E,)}: all losses in one panel, each other quantity in its own.

    The loss of every step (N,), if it is given, has a panel below them.
    """
    losses = {name: values for name, values in epochs.items() if name.endswith("loss")}
    panels = [losses, *({name: values} for name, values in epochs.items() if name not in losses)]
    count = len(panels) + (steps is not None)
    figure = _figure(7.0, 2.6 * count)
    rows: list[Any] = []
    for k in range(count):
        rows.append(figure.add_subplot(count, 1, k + 1, sharex=rows[0] if 0 < k < len(panels) else None))
    if steps is not None:
        rows[-1].plot(np.arange(1, len(steps) + 1), steps, color=INLIER, linewidth=0.6, label="loss of every step")
        rows[-1].set_xlabel("step")
        rows[-1].legend(fontsize=8)
    for axes, curves in zip(rows, panels, strict=False):
        for name, values in curves.items():
            # Markers show a run of one epoch, which is a single point.
            axes.plot(np.arange(1, len(values) + 1), values, label=name, linewidth=1, marker=".", markersize=3)
        axes.legend(fontsize=8)
    axes.set_xlabel("epoch")
    return figure


def density_figure(
    numbers: np.ndarray, name: str, x: np.ndarray, density: np.ndarray, z: np.ndarray, latents: np.ndarray | None = None
) -> Figure:
    """Plot a one-dimensional flow: p(x) over a histogram of numbers (N,), and its map z(x); x, p(x), z(x) are (K,).

    Where the images `latents` (N,) of the numbers are given, a third panel has their histogram beside N(0, 1).
    """
    figure = _figure(9.0 if latents is None else 12.0, 3.4)
    left, right, *third = figure.subplots(1, 2 if latents is None else 3)
    left.hist(numbers, bins=60, density=True, color=INLIER, alpha=0.4, label=name)
    left.plot(x, density, color=OUTLIER, linewidth=1.2, label="p(x)")
    left.set_xlabel("x")
    left.legend(fontsize=8)
    right.plot(x, z, color=THRESHOLD, linewidth=1.2)
    right.set_xlabel("x")
    right.set_title("z(x)", fontsize=9)
    for axes in third:
        axes.hist(latents, bins=60, density=True, color=INLIER, alpha=0.4, label=f"z of {name}")
        points = np.linspace(-4, 4, 200)
        prior = np.exp(-(points**2) / 2) / math.sqrt(2 * math.pi)
        axes.plot(points, prior, color=OUTLIER, linewidth=1.2, label="prior")
        axes.set_xlabel("z")
        axes.legend(fontsize=8)
    return figure


def _histograms(
    axes: Any,
    detection: Detection,
    inlier: tuple[str, np.ndarray, np.ndarray],
    outlier: tuple[str, np.ndarray, np.ndarray],
) -> None:
    both = np.concatenate([inlier[2], outlier[2]])
    # Outliers are a hundred times farther from the threshold than inliers: the axis is linear near it and logarithmic
    # beyond.
    linear = max(float(np.std(inlier[2])), 1e-3)

    def spread(values: np.ndarray) -> np.ndarray:
        return np.asarray(np.arcsinh((values - detection.threshold) / linear))

    def gather(values: np.ndarray) -> np.ndarray:
        return np.asarray(np.sinh(values) * linear + detection.threshold)

    edges = gather(np.linspace(spread(both).min(), spread(both).max(), 90))
    # The round trip through both functions rounds, and the extreme images would fall outside.
    edges[[0, -1]] = both.min(), both.max()
    sets = (
        (inlier, INLIER, f"type I errors {detection.type_1_errors:,} of {detection.type_1_total:,}"),
        (outlier, OUTLIER, f"type II errors {detection.type_2_errors:,} of {detection.type_2_total:,}"),
    )
    for (name, _, log_prob), colour, errors in sets:
        axes.hist(log_prob, bins=edges, color=colour, alpha=0.65, label=f"{name}: {errors}")
    axes.axvline(detection.threshold, color=THRESHOLD, label=f"threshold {detection.threshold:,.2f} nats")
    axes.set_xscale("function", functions=(spread, gather))
    axes.set_xlim(edges[0], edges[-1])
    ticks = sorted({float(f"{edge:.2g}") for edge in edges[4:-4:14]})
    axes.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("log p(x) in nats, linear near the threshold and logarithmic away from it")
    axes.set_ylabel("images")
    axes.set_title(f"AUROC {detection.auroc:.4f}", fontsize=10, loc="left")
    axes.legend(fontsize=8)


def _show(axes: Any, picture: np.ndarray, title: str) -> None:
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(title, fontsize=8)
    axes.set_axis_off()


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError('plots need matplotlib: pip install "mathdnn_jax[plots]"') from error
    return Figure(figsize=(width, height), layout="constrained", dpi=120)
