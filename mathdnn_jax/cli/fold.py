"""Fold the batch norms of a checkpoint into its weights, and report what was done to each layer."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax import data
from mathdnn_jax.cli import arguments
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.files import check_writable
from mathdnn_jax.nets import Sequential
from mathdnn_jax.progress import progress
from mathdnn_jax.surgery import remove_batch_norm

FOLDED = {"small-net": "small-net-folded", "conv-relu-bn": "conv-relu-sign-bias"}
"""The model without batch norms that each model with batch norms becomes."""

BATCH = 100
"""Batch size over which squared output differences are summed."""


class Difference(NamedTuple):
    """The difference between the outputs of two networks.

    - `events`: the number of events compared;
    - `greatest`: the greatest absolute difference of two outputs;
    - `squared_norm`: the greatest sum of squared differences over a batch of 100 events;
    - `same_class`: the number of events with the greatest output at the same index.
    """

    events: int
    greatest: float
    squared_norm: float
    same_class: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("checkpoint", help="a PyTorch checkpoint, or a file written by `mathdnn convert`")
    parser.add_argument("--model", default="small-net", help=f"one of {', '.join(FOLDED)} (default: small-net)")
    arguments.add_ignore_argument(parser)
    parser.add_argument(
        "--output",
        "-o",
        required=True,
        help="file for the model without batch norms: .safetensors for JAX parameters, .pt or .pth for PyTorch",
    )
    parser.add_argument("--inputs", metavar="DATA", help="data set to compare outputs on (default: random events)")
    arguments.add_data_dir_argument(parser)
    parser.add_argument(
        "--events", type=arguments.count, default=1000, help="number of events to compare on (default: 1000)"
    )
    parser.add_argument("--seed", type=arguments.seed, default=0, help="seed of the random events (default: 0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from parity import export, restore, save_params, save_state
    from parity.models import find_model

    specification = find_model(options.model)
    if options.model not in FOLDED:
        raise ConfigurationError(
            f"model {options.model!r} has no batch norms to fold; models with batch norms: {', '.join(FOLDED)}"
        )
    output = check_writable(options.output, options.checkpoint)
    restored = restore(options.checkpoint, options.model, ignore=options.ignore, inside=options.inside)
    folded, variables, report = remove_batch_norm(restored.model, restored.params)
    if options.inputs:
        images = data.unit_interval(data.load(options.inputs, "test", options.data_dir).images[: options.events])
        x, source = (images if images.ndim == 4 else images[..., None]), options.inputs
    else:
        events = specification.events(restored.config)
        x, source = specification.family.draw(restored.model, restored.params, events, options.events, options.seed)
    difference = compare(restored.model, restored.params, folded, variables, x)

    if output.suffix == ".safetensors":
        save_params(output, variables, FOLDED[options.model])
    else:
        save_state(output, export(variables, FOLDED[options.model]))
    if options.json:
        found = {**report.as_dict(), "inputs": source, "difference": difference._asdict(), "output": str(output)}
        print(json.dumps({**found, "model": FOLDED[options.model]}))
    else:
        print(report.describe())
        print(describe(difference, source, output, FOLDED[options.model]))
    return 0


def compare(network: Sequential, variables: Any, folded: Sequential, new: Any, x: np.ndarray) -> Difference:
    """Compare both networks in eval mode on x (N, …); an incomplete last batch is filled from the beginning."""
    before, after = jax.jit(network.apply), jax.jit(folded.apply)
    differences, same = [], 0
    filled = np.arange(-(-len(x) // BATCH) * BATCH) % len(x)
    with progress("comparing outputs on events", len(x)) as advance:
        for first in range(0, len(x), BATCH):
            count = min(BATCH, len(x) - first)
            batch = jnp.asarray(x[filled[first : first + BATCH]])
            old, recent = (np.asarray(f(v, batch))[:count] for f, v in ((before, variables), (after, new)))
            differences.append(np.abs(old.astype(np.float64) - recent))
            same += int((old.argmax(-1) == recent.argmax(-1)).reshape(count, -1).all(-1).sum())
            advance(count)
    return Difference(
        events=len(x),
        greatest=float(max(d.max() for d in differences)),
        squared_norm=float(max(np.square(d).sum() for d in differences)),
        same_class=same,
    )


def describe(difference: Difference, source: str, output: Path, model: str) -> str:
    """The difference as readable text."""
    return (
        f"greatest output difference                 {difference.greatest:.3g}\n"
        f"greatest squared norm, batches of {BATCH:<8} {difference.squared_norm:.3g}\n"
        f"same class                                 {difference.same_class:,} of {difference.events:,} "
        f"events ({source})\n"
        f"written: {output}, model {model}"
    )
