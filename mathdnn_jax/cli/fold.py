"""Fold the batch norms of a checkpoint into its weights, and report what was done to each layer."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mathdnn_jax import data
from mathdnn_jax.cli import arguments
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.files import check_writable
from mathdnn_jax.progress import progress

if TYPE_CHECKING:
    from mathdnn_jax.nets import Sequential

FOLDED = {"small-net": "small-net-folded", "conv-relu-bn": "conv-relu-sign-bias"}
"""The model without batch norms that each model with batch norms becomes."""

BATCH = 100
"""Batch size over which squared output differences are summed."""

MARGIN = 8
"""The factor by which the folded network may differ more than the rounding errors of the original explain."""


class Difference(NamedTuple):
    """The difference between the outputs of two networks.

    - `events`: the number of events compared;
    - `greatest`: the greatest absolute difference of two outputs;
    - `squared_norm`: the greatest sum of squared differences over a batch of 100 events;
    - `same_class`: the number of events with the greatest output at the same index;
    - `tolerance`: the greatest difference that rounding explains: 8 times the sum of the greatest rounding error of the
      original network, against itself in float64, and the spacing of float32 at its greatest output;
    - `agrees`: whether `greatest` is at most that.
    """

    events: int
    greatest: float
    squared_norm: float
    same_class: int
    tolerance: float
    agrees: bool


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
    """Run the command.

    Returns:
        0, or 1 if the folded network does not agree with the original; nothing is written then.
    """
    from mathdnn_jax.surgery import remove_batch_norm
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

    if difference.agrees and output.suffix == ".safetensors":
        save_params(output, variables, FOLDED[options.model])
    elif difference.agrees:
        save_state(output, export(variables, FOLDED[options.model]))
    if options.json:
        found = {
            **report.as_dict(),
            "inputs": source,
            "difference": difference._asdict(),
            "output": str(output) if difference.agrees else None,
        }
        print(json.dumps({**found, "model": FOLDED[options.model]}))
    else:
        print(report.describe())
        print(describe(difference, source, output, FOLDED[options.model]))
    return 0 if difference.agrees else 1


def compare(network: Sequential, variables: Any, folded: Sequential, new: Any, x: np.ndarray) -> Difference:
    """Compare both networks in eval mode on x (N, …); an incomplete last batch is filled from the beginning."""
    import jax
    import jax.numpy as jnp

    before, after = jax.jit(network.apply), jax.jit(folded.apply)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, np.float64)), variables)
    differences, errors, same, highest = [], [], 0, 0.0
    filled = np.arange(-(-len(x) // BATCH) * BATCH) % len(x)
    with progress("comparing outputs on events", len(x)) as advance:
        for first in range(0, len(x), BATCH):
            count = min(BATCH, len(x) - first)
            batch = jnp.asarray(x[filled[first : first + BATCH]])
            old, recent = (np.asarray(f(v, batch))[:count] for f, v in ((before, variables), (after, new)))
            with jax.enable_x64(True):
                exact = np.asarray(before(wide, np.asarray(batch, np.float64)))[:count]
            differences.append(np.abs(old.astype(np.float64) - recent))
            errors.append(float(np.abs(old - exact).max()))
            highest = max(highest, float(np.abs(exact).max()))
            same += int((old.argmax(-1) == recent.argmax(-1)).reshape(count, -1).all(-1).sum())
            advance(count)
    greatest = float(np.max([d.max() for d in differences]))
    tolerance = MARGIN * (float(np.max(errors)) + float(np.finfo(np.float32).eps) * highest)
    return Difference(
        events=len(x),
        greatest=greatest,
        squared_norm=float(max(np.square(d).sum() for d in differences)),
        same_class=same,
        tolerance=tolerance,
        agrees=greatest <= tolerance,
    )


def describe(difference: Difference, source: str, output: Path, model: str) -> str:
    """The difference as readable text."""
    verdict = (
        f"agrees within {difference.tolerance:.3g}, {MARGIN} times the original's own rounding errors"
        if difference.agrees
        else f"does not agree within {difference.tolerance:.3g}, {MARGIN} times the original's own rounding errors"
    )
    written = f"written: {output}, model {model}" if difference.agrees else f"not written: {output}"
    return (
        f"greatest output difference                 {difference.greatest:.3g}\n"
        f"greatest squared norm, batches of {BATCH:<8} {difference.squared_norm:.3g}\n"
        f"same class                                 {difference.same_class:,} of {difference.events:,} "
        f"events ({source})\n"
        f"the folded network {verdict}\n"
        f"{written}"
    )
