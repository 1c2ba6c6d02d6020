"""Certify a checkpoint: PyTorch and JAX on the same inputs, layer by layer, with a JSON certificate."""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

from mathdnn_jax import data
from mathdnn_jax.cli import arguments
from mathdnn_jax.progress import progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("checkpoint", help="a PyTorch checkpoint (.pt, .pth, .safetensors)")
    arguments.add_checkpoint_arguments(parser)
    parser.add_argument("--output", "-o", help="the certificate (default: NAME.certificate.json in this folder)")
    parser.add_argument("--inputs", metavar="DATA", help="a data set to compare on (default: drawn events)")
    parser.add_argument("--data-dir", help="root of the data sets (default: $MATHDNN_DATA, else a cache folder)")
    parser.add_argument(
        "--events", type=arguments.count, default=1024, help="how many events to compare on (default: 1024)"
    )
    parser.add_argument("--seed", type=arguments.seed, default=0, help="of drawn events (default: 0)")
    parser.add_argument("--json", action="store_true", help="print the certificate instead of a table")


def run(options: argparse.Namespace) -> int:
    """Do what the command line asks."""
    from parity import certify
    from parity.models import find_model

    ndims = find_model(options.model).family.event_ndims
    inputs = _inputs(options.inputs, options.data_dir, options.events, ndims) if options.inputs else None
    with progress("comparing layers on events", options.events if inputs is None else len(inputs)) as advance:
        certificate = certify(
            options.checkpoint,
            options.model,
            inputs=inputs,
            output=options.output,
            events=options.events,
            seed=options.seed,
            ignore=options.ignore,
            on_batch=advance,
        )
    print(json.dumps(certificate, indent=2) if options.json else describe(certificate))
    return 0


def describe(certificate: dict[str, Any]) -> str:
    """A certificate as a table of plain text; errors are against PyTorch in float64."""
    lines = [f"{'layer':<22}{'JAX rms':>10}{'PyTorch rms':>13}{'ratio':>7}{'JAX-PyTorch':>13}{'in float64':>12}"]
    for layer in certificate["layers"]:
        jax_rms, torch_rms = (layer[f"{side}_float32_error"]["rms"] for side in ("jax", "torch"))
        ratio = f"{jax_rms / torch_rms:.2f}" if torch_rms else "-"
        difference = layer["jax_to_torch_float32"]["absolute"]["greatest"]
        lines.append(
            f"{layer['layer']:<22}{jax_rms:>10.2e}{torch_rms:>13.2e}{ratio:>7}{difference:>13.2e}"
            f"{layer['jax_to_torch_float64']:>12.1e}  {'passed' if layer['passed'] else 'FAILED'}"
        )
    checkpoint = certificate["checkpoint"]
    lines.append(
        f"passed: {checkpoint['name']}, {checkpoint['parameters']:,} parameters back bit for bit, "
        f"{len(certificate['layers'])} layers within the rule on {certificate['inputs']['events']:,} events"
    )
    return "\n".join([*lines, f"sha256 {checkpoint['sha256']}"])


def _inputs(name: str, data_dir: str | None, events: int, event_ndims: int) -> np.ndarray:
    """Images as vectors, or as images with a channel axis, as the model takes them."""
    images = data.unit_interval(data.load(name, "test", data_dir).images[:events])
    if event_ndims == 1:
        return images.reshape(len(images), -1)
    return images if images.ndim == 4 else images[..., None]
