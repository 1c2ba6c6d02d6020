"""Plots as matplotlib figures, without global state."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mathdnn_jax.errors import MissingDependencyError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mathdnn_jax.tasks import Detection

INLIER, OUTLIER, THRESHOLD = "#2a6f97", "#e07a1f", "#222222"

# The palette of Okabe and Ito without yellow, which is pale on white: its colours can be told apart by nearly everyone.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
LINES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D")

MANY = 10
"""The greatest number of images that are arranged without a gap, whatever the shape."""

LEGEND = 12
"""The greatest number of curves in a legend."""

BESIDE = 4
"""The greatest number of curves whose legend does not hide them."""


def image_grid(images: np.ndarray, columns: int, fill: float = 0.55) -> np.ndarray:
    """Arrange images (N, H, W[, 3]) in one image of rows of `columns`, with grey lines between them.

    Places for which there is no image have the value `fill`.
    """
    count, height, width, *colour = images.shape
    rows = -(-count // columns)
    # Neither black nor white, so that the edges of an all-black or all-white image are visible.
    grid = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1, *colour), 0.55)
    for k, image in enumerate(images):
        top, left = (k // columns) * (height + 1), (k % columns) * (width + 1)
        grid[top : top + height, left : left + width] = image
    if count < rows * columns:
        grid[(rows - 1) * (height + 1) :, (count - (rows - 1) * columns) * (width + 1) :] = fill
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
    original: np.ndarray,
    corrupted: np.ndarray,
    reconstruction: np.ndarray,
    log_prob: np.ndarray,
    labels: Sequence[str] | None = None,
) -> Figure:
    """Plot images before, without and with the missing pixels, beside log p after every step with its greatest value.

    Args:
        original: Images (N, H, W[, 3]) on [0, 1].
        corrupted: The same images without the missing pixels.
        reconstruction: The same images with the pixels filled in.
        log_prob: log p (steps + 1, N) in nats.
        labels: What to call each image; by default its number, from 0.
    """
    count = len(original)
    columns = _columns(count)
    rows = -(-count // columns)
    figure = _figure(10.0, max(3.4, 0.5 + 0.8 * rows))
    panels = figure.subplots(1, 4, width_ratios=(1, 1, 1, 1.9))
    names = [str(k) for k in range(count)] if labels is None else labels
    # After all colours have been used, they come again with other lines.
    styles = [
        {"color": COLOURS[k % len(COLOURS)], "linestyle": LINES[k // len(COLOURS) % len(LINES)]} for k in range(count)
    ]
    titles = ("original", "corrupted", "filled in")
    for axes, images, title in zip(panels, (original, corrupted, reconstruction), titles, strict=False):
        _show(axes, image_grid(np.clip(images, 0, 1), columns, fill=1.0), title)
        for k, style in enumerate(styles):
            _frame(axes, images.shape[1:3], divmod(k, columns), style)
    history = panels[3]
    for name, values, style in zip(names, log_prob.T, styles, strict=True):
        best = int(values.argmax())
        history.plot(values, linewidth=1.2, label=f"image {name}: best after {best} steps", **style)
        history.plot(best, values[best], color=style["color"], marker="o", markersize=4)
    _whole_numbers(history)
    history.set_xlabel("steps of gradient ascent")
    history.set_ylabel("log p(x) in nats")
    history.set_title("log-likelihood of each image, framed in its colour", fontsize=9)
    if count <= LEGEND:
        beside: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1, 0.5)} if count > BESIDE else {}
        history.legend(fontsize=7, **beside)
    return figure


def loss_figure(epochs: Mapping[str, np.ndarray], loss_unit: str = "nats", steps: np.ndarray | None = None) -> Figure:
    """Plot the values of every epoch, {name: (E,)}: all losses in one panel, each other quantity in its own.

    A quantity shares its panel with the same quantity of the validation set, `validation_` and its name. The loss of
    every step (N,), if it is given, has a panel below them.
    """
    groups: dict[str, dict[str, np.ndarray]] = {}
    for name, values in epochs.items():
        quantity = "loss" if name.endswith("loss") else name.removeprefix("validation_")
        groups.setdefault(quantity, {})[name] = values
    count = len(groups) + (steps is not None)
    figure = _figure(7.0, 0.4 + 2.7 * count)
    panels: list[Any] = []
    for k in range(count):
        shared = panels[0] if 0 < k < len(groups) else None
        panels.append(figure.add_subplot(count, 1, k + 1, sharex=shared))
    if steps is not None:
        panels[-1].plot(np.arange(1, len(steps) + 1), steps, color=COLOURS[0], linewidth=0.6)
        panels[-1].set_xlabel("step")
        panels[-1].set_ylabel(f"loss in {loss_unit}")
        panels[-1].set_title("the loss of every step", fontsize=9)
        panels[-1].grid(alpha=0.25)
    for axes, (quantity, curves) in zip(panels, groups.items(), strict=False):
        for k, (name, values) in enumerate(curves.items()):
            # Markers show a run of one epoch, which is a single point, and tell curves apart without colours.
            axes.plot(
                np.arange(1, len(values) + 1),
                values,
                label=name.replace("_", " "),
                color=COLOURS[k % len(COLOURS)],
                linestyle=LINES[k % len(LINES)],
                linewidth=1.2,
                marker=MARKERS[k % len(MARKERS)],
                markersize=3.5,
            )
        axes.set_ylabel(f"loss in {loss_unit}" if quantity == "loss" else quantity.replace("_", " "))
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8)
    _whole_numbers(axes)
    axes.set_xlim(0.5, max(map(len, epochs.values())) + 0.5)
    axes.set_xlabel("epoch")
    panels[0].set_title("training, epoch by epoch", fontsize=9)
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
    left.set_ylabel("density, per unit of x")
    left.set_title("the flow's density and the data", fontsize=9)
    left.legend(fontsize=8)
    right.plot(x, z, color=THRESHOLD, linewidth=1.2)
    right.set_xlabel("x")
    right.set_ylabel("z(x)")
    right.set_title("the map from data to latents", fontsize=9)
    for axes in third:
        axes.hist(latents, bins=60, density=True, color=INLIER, alpha=0.4, label=f"z of {name}")
        points = np.linspace(-4, 4, 200)
        prior = np.exp(-(points**2) / 2) / math.sqrt(2 * math.pi)
        axes.plot(points, prior, color=OUTLIER, linewidth=1.2, label="prior")
        axes.set_xlabel("z")
        axes.set_ylabel("density, per unit of z")
        axes.set_title("the latents and their prior", fontsize=9)
        axes.legend(fontsize=8)
    return figure


def _frame(axes: Any, shape: tuple[int, int], place: tuple[int, int], style: Mapping[str, Any]) -> None:
    """Draw a frame around the image in this row and column of a grid."""
    from matplotlib.patches import Rectangle

    height, width = shape
    row, column = place
    corner = (column * (width + 1) - 0.5, row * (height + 1) - 0.5)
    axes.add_patch(Rectangle(corner, width, height, fill=False, linewidth=2, clip_on=False, **style))


def _columns(count: int) -> int:
    """The number of columns in which to arrange images: nearly a square, and without a gap for few images."""
    if count > MANY:
        return math.ceil(math.sqrt(count))
    return max(columns for columns in range(1, math.isqrt(count) + 1) if count % columns == 0)


def _whole_numbers(axes: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


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
