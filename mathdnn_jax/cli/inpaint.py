"""Fill in missing pixels by a flow's likelihood, and draw the original, corrupted and filled images."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mathdnn_jax import data
from mathdnn_jax.cli import arguments
from mathdnn_jax.cli.outputs import add_output_arguments, output_path
from mathdnn_jax.cli.pictures import check_picture, save_figure
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.plots import inpainting_figure

if TYPE_CHECKING:
    from mathdnn_jax.tasks.inpainting import Inpainted

SIDE = 28
"""Side of the images that the default rectangle is defined for; for other images it is scaled in proportion."""

ROWS, COLUMNS = (5, 12), (5, 20)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--checkpoint", required=True, help="a PyTorch checkpoint, or a file written by `mathdnn convert`"
    )
    arguments.add_checkpoint_arguments(parser)
    parser.add_argument("--data", default="mnist", help="data set whose test images are used (default: mnist)")
    arguments.add_data_dir_argument(parser)
    parser.add_argument(
        "--images", type=index, nargs="+", default=[6], metavar="INDEX", help="indices of the images (default: 6)"
    )
    parser.add_argument("--rows", type=span, metavar="A:B", help="missing rows, B excluded (default: 5:12 of 28)")
    parser.add_argument("--columns", type=span, metavar="A:B", help="missing columns (default: 5:20 of 28)")
    parser.add_argument("--mask", metavar="FILE", help=".npy file of booleans, True for missing pixels, instead")
    parser.add_argument("--fill", type=float, default=1.0, help="initial value of missing pixels (default: 1, white)")
    parser.add_argument("--steps", type=arguments.count, default=300, help="steps of gradient ascent (default: 300)")
    parser.add_argument("--step-size", type=float, default=1e-3, help="step size (default: 1e-3)")
    parser.add_argument("--momentum", type=float, default=0.0, help="momentum in [0, 1) (default: 0)")
    parser.add_argument(
        "--halvings",
        type=index,
        default=0,
        help="maximum number of times a step is halved until log p does not decrease "
        "(default: 0; 16 works well with --step-size 1e-2)",
    )
    add_output_arguments(parser, "file for the figure", "inpainted.png")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from mathdnn_jax.tasks import corrupt, inpaint
    from parity import restore

    picture = check_picture(output_path(options, "inpainted.png"))
    flow, params, _, _ = restore(options.checkpoint, options.model, ignore=options.ignore, inside=options.inside)
    images = _choose(data.load(options.data, "test", options.data_dir).images, options.images, options.data)
    missing = _mask(options, images.shape)
    corrupted = corrupt(images, missing, options.fill)
    began = time.perf_counter()
    result = inpaint(
        flow,
        params,
        corrupted,
        missing,
        steps=options.steps,
        step_size=options.step_size,
        momentum=options.momentum,
        halvings=options.halvings,
    )
    seconds = time.perf_counter() - began
    save_figure(
        inpainting_figure(
            data.unit_interval(images), corrupted, result.images, result.log_prob, list(map(str, options.images))
        ),
        picture,
    )
    found = summary(options.images, result, seconds)
    print(json.dumps(found) if options.json else describe(found, picture))
    return 0


def summary(indices: list[int], result: Inpainted, seconds: float) -> dict[str, Any]:
    """The result as plain numbers."""
    fell = (np.diff(result.log_prob, axis=0) < 0).sum(0)
    images = [
        {
            "image": index,
            "log_prob_before": float(result.log_prob[0, k]),
            "log_prob_after": float(result.log_prob[:, k].max()),
            "best_step": int(result.best_step[k]),
            "log_prob_of_last_step": float(result.log_prob[-1, k]),
            "steps_that_fell": int(fell[k]),
        }
        for k, index in enumerate(indices)
    ]
    return {"images": images, "steps": len(result.log_prob) - 1, "seconds": seconds}


def describe(found: dict[str, Any], picture: Path) -> str:
    """The result as readable text."""
    lines = [f"{'image':>6}{'log p before':>16}{'log p after':>16}{'best after':>14}   log p decreased in"]
    lines += [
        f"{one['image']:>6}{one['log_prob_before']:>16,.2f}{one['log_prob_after']:>16,.2f}"
        f"{one['best_step']:>8,} steps   {one['steps_that_fell']} of {found['steps']} steps"
        for one in found["images"]
    ]
    if any(one["best_step"] < found["steps"] for one in found["images"]):
        lines.append("Each image is shown after the step at which it was best, which was not always the last.")
    return "\n".join([*lines, f"{found['seconds']:.2f} s, compilation included; wrote {picture}"])


def index(text: str) -> int:
    """Parse an integer of at least 0, for `argparse`."""
    return arguments.count(text) if text.strip() != "0" else 0


def span(text: str) -> tuple[int, int]:
    """Parse `A:B` as two integers, for `argparse`."""
    first, colon, end = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"{text!r} is not a range; write it as 5:12, with the end excluded")
    return index(first), index(end)


def _choose(images: np.ndarray, indices: list[int], name: str) -> np.ndarray:
    beyond = [index for index in indices if index >= len(images)]
    if beyond:
        raise ConfigurationError(
            f"there is no image {beyond}: {name} has {len(images):,} test images, 0 to {len(images) - 1}"
        )
    return images[indices]


def _mask(options: argparse.Namespace, shape: tuple[int, ...]) -> np.ndarray:
    if options.mask is None:
        from mathdnn_jax.tasks import rectangle

        height, width = shape[1:3]
        rows = options.rows or _scaled(ROWS, height)
        columns = options.columns or _scaled(COLUMNS, width)
        return rectangle((height, width), rows, columns)
    if options.rows or options.columns:
        raise ConfigurationError("specify the mask by --mask or by --rows and --columns, not by both")
    try:
        return np.asarray(np.load(options.mask, allow_pickle=False))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the mask {options.mask} is not an .npy file of booleans: {error}") from error


def _scaled(span: tuple[int, int], size: int) -> tuple[int, int]:
    first, end = (round(edge * size / SIDE) for edge in span)
    return first, max(end, first + 1)
