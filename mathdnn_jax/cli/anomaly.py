"""Detect anomalies by likelihood, and report threshold, type I and II errors, AUROC and images per second."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mathdnn_jax import data
from mathdnn_jax.cli import arguments
from mathdnn_jax.cli.pictures import check_picture, save_figure
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.plots import anomaly_figure
from mathdnn_jax.progress import progress

if TYPE_CHECKING:
    from mathdnn_jax.bijectors import Params
    from mathdnn_jax.flows import Flow
    from mathdnn_jax.tasks import Detection
    from mathdnn_jax.tasks.anomaly import Split


class AnomalyResult(NamedTuple):
    """A detection, with the scored inliers of the test half and the scored outliers."""

    detection: Detection
    images_per_second: float
    inlier_images: np.ndarray
    inlier_log_prob: np.ndarray
    outlier_images: np.ndarray
    outlier_log_prob: np.ndarray


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--checkpoint", required=True, help="a PyTorch checkpoint, or a file written by `mathdnn convert`"
    )
    arguments.add_checkpoint_arguments(parser)
    parser.add_argument("--inlier", default="mnist", help="data set the flow was trained on (default: mnist)")
    parser.add_argument("--outlier", default="kmnist", help="data set of anomalies (default: kmnist)")
    arguments.add_data_dir_argument(parser)
    parser.add_argument(
        "--split",
        choices=("halves", "random"),
        default="halves",
        help="use the first half of the inliers' test set for validation, or a random half (default: halves)",
    )
    parser.add_argument("--seed", type=arguments.seed, default=0, help="seed of the random split (default: 0)")
    parser.add_argument("--batch-size", type=arguments.count, default=1000, help="images at a time (default: 1000)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--plot", metavar="FILE", help="histograms and extreme images, as .png, .jpg, .svg or .pdf")


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from mathdnn_jax.flows import Flow
    from parity import restore

    plot = check_picture(options.plot) if options.plot else None
    flow, params, _, _ = restore(options.checkpoint, options.model, ignore=options.ignore, inside=options.inside)
    if not isinstance(flow, Flow):
        raise ConfigurationError(
            f"anomalies are detected by likelihood, but model {options.model!r} is a network without one; pass the "
            f"checkpoint of a flow, such as nice"
        )
    inliers, outliers = (data.load(name, "test", options.data_dir).images for name in (options.inlier, options.outlier))
    for line in shared_images(inliers, outliers):
        print(f"mathdnn: {line}", file=sys.stderr)
    result = detect_anomalies(
        flow,
        params,
        inliers,
        outliers,
        split=options.split,
        seed=options.seed,
        batch_size=options.batch_size,
    )
    if plot is not None:
        write_plot(plot, result, options.inlier, options.outlier)
    figures = {**result.detection._asdict(), "images_per_second": result.images_per_second}
    print(json.dumps(figures) if options.json else describe(result))
    return 0


def detect_anomalies(
    flow: Flow,
    params: Params,
    inliers: np.ndarray,
    outliers: np.ndarray,
    *,
    split: Split = "halves",
    seed: int = 0,
    batch_size: int = 1000,
) -> AnomalyResult:
    """Score both sets once, with a progress bar, using the validation half of the inliers for the threshold."""
    from mathdnn_jax.tasks import detect, halve, score
    from mathdnn_jax.tasks.per_image import as_events

    validation, test = halve(len(inliers), split, seed)
    # Check both sets before scoring either.
    for images in (inliers, outliers):
        as_events(images, flow.prior.event_shape)
    total = len(inliers) + len(outliers)
    with progress("log-likelihoods", total) as advance:
        inlier = score(flow, params, inliers, batch_size=batch_size, on_batch=advance)
        outlier = score(flow, params, outliers, batch_size=batch_size, on_batch=advance)
    return AnomalyResult(
        detection=detect(inlier.log_prob[validation], inlier.log_prob[test], outlier.log_prob),
        images_per_second=total / (inlier.seconds + outlier.seconds),
        inlier_images=inliers[test],
        inlier_log_prob=inlier.log_prob[test],
        outlier_images=outliers,
        outlier_log_prob=outlier.log_prob,
    )


def shared_images(inliers: np.ndarray, outliers: np.ndarray) -> list[str]:
    """Say, in a line or none, that images are in both sets, where no detector can tell them apart."""
    known = {(image.shape, image.dtype.str, image.tobytes()) for image in inliers}
    count = sum((image.shape, image.dtype.str, image.tobytes()) in known for image in outliers)
    if not count:
        return []
    if count == len(outliers) and len(inliers) == len(outliers):
        return [
            f"the inliers and the outliers are the same {count:,} images: the errors say nothing about anomalies; "
            f"name another data set with --outlier"
        ]
    return [f"{count:,} of {len(outliers):,} outliers are among the inliers too, where nothing can tell them apart"]


def describe(result: AnomalyResult) -> str:
    """The figures as readable text."""
    found = result.detection
    return (
        f"threshold        {found.threshold:.5f} nats (mean - 3 std of the validation half)\n"
        f"type I errors    {found.type_1_errors:,} of {found.type_1_total:,} inliers reported as anomalies "
        f"({found.type_1_errors / found.type_1_total:.2%})\n"
        f"type II errors   {found.type_2_errors:,} of {found.type_2_total:,} anomalies missed "
        f"({found.type_2_errors / found.type_2_total:.2%})\n"
        f"AUROC            {found.auroc:.6f}\n"
        f"images/s         {result.images_per_second:,.0f} (without compilation)"
    )


def write_plot(path: Path, result: AnomalyResult, inlier: str, outlier: str) -> None:
    """Write a figure with the histograms and the extreme images."""
    figure = anomaly_figure(
        result.detection,
        (inlier, result.inlier_images, result.inlier_log_prob),
        (outlier, result.outlier_images, result.outlier_log_prob),
    )
    save_figure(figure, path)
