"""The pictures of a training run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np

from mathdnn_jax.cli.pictures import save_figure
from mathdnn_jax.data import unit_interval
from mathdnn_jax.plots import density_figure, grid_figure, image_grid, loss_figure
from mathdnn_jax.recipes import Sets, Task
from mathdnn_jax.training import History
from mathdnn_jax.training.update import Tree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN, COLUMNS, POINTS, NUMBERS = 64, 8, 400, 5000


def write_pictures(
    folder: Path, task: Task, params: Tree, state: Tree, sets: Sets, history: History, seed: int
) -> list[str]:
    """Write `losses.png`, and `samples.png`, `reconstructions.png` and `density.png` if the model supports them.

    Returns:
        The file names.

    Raises:
        OutputError, MissingDependencyError: The files cannot be written, or matplotlib is not installed.
    """
    figures = {"losses.png": loss_figure(history.epochs, task.loss_unit, history.loss)}
    if task.sample is not None:
        drawn = task.sample(params, state, jax.random.key(seed), SHOWN if sets.image_shape else NUMBERS, 1.0)
        figures["samples.png"] = sample_figure(task, params, drawn, "samples")
    if task.reconstruct is not None:
        images = sets.test[: SHOWN // 2]
        shape = (len(images), *sets.image_shape)
        pair = unit_interval(images).reshape(shape), task.reconstruct(params, state, images).reshape(shape)
        # Each row of images is followed by the row of their reconstructions.
        rows = [side[first : first + COLUMNS] for first in range(0, len(images), COLUMNS) for side in pair]
        title = "test images, each above its reconstruction"
        figures["reconstructions.png"] = grid_figure(np.concatenate(rows), COLUMNS, title)
    if task.curve is not None:
        figures["density.png"] = _density(task, params, sets.training, "training data", latents=True)
    for name, figure in figures.items():
        save_figure(figure, folder / name)
    return list(figures)


def sample_figure(task: Task, params: Tree, drawn: np.ndarray, title: str) -> Figure:
    """Show images (N, H, W[, 3]) in a grid, or a histogram of numbers (N,) with the density they are drawn from."""
    if task.curve is not None:
        return _density(task, params, drawn, title)
    return grid_figure(drawn, min(COLUMNS, len(drawn)), title)


def check_grid(image_shape: tuple[int, ...]) -> None:
    """Check before hours of training whether pictures can be made.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    grid_figure(image_grid(np.zeros((1, *(image_shape or (1, 1)))), 1)[None], 1, "")


def _density(task: Task, params: Tree, numbers: np.ndarray, name: str, latents: bool = False) -> Figure:
    assert task.curve is not None
    margin = 0.25 * float(np.ptp(numbers)) + 1e-3
    x = np.linspace(numbers.min() - margin, numbers.max() + margin, POINTS)
    images = task.curve(params, numbers)[1] if latents else None
    return density_figure(numbers, name, x, *task.curve(params, x), images)
