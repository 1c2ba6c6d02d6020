"""Certify a checkpoint: PyTorch and JAX on the same inputs, layer by layer, with a JSON certificate.

With --torch and --flax the two networks are the user's own.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from mathdnn_jax import data
from mathdnn_jax.cli import arguments
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.files import check_writable
from mathdnn_jax.progress import progress

EVENTS = 1024
PAIR_EVENTS = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("checkpoint", help="a PyTorch checkpoint (.pt, .pth, .safetensors)")
    arguments.add_checkpoint_arguments(parser)
    parser.add_argument("--output", "-o", help="the certificate (default: NAME.certificate.json in this folder)")
    parser.add_argument(
        "--inputs",
        metavar="DATA",
        help="a data set, or a .npy file with --torch, to compare on (default: drawn events)",
    )
    parser.add_argument("--data-dir", help="root of the data sets (default: $MATHDNN_DATA, else a cache folder)")
    parser.add_argument(
        "--events",
        type=arguments.count,
        help=f"how many events to compare on (default: {EVENTS}; {PAIR_EVENTS} with --torch)",
    )
    parser.add_argument("--seed", type=arguments.seed, default=0, help="of drawn events (default: 0)")
    parser.add_argument("--json", action="store_true", help="print the certificate instead of a table")
    own = parser.add_argument_group("networks of your own")
    own.add_argument("--torch", metavar="PKG.MODULE:BUILD", help="a function that returns the PyTorch module")
    own.add_argument(
        "--flax", metavar="PKG.MODULE:BUILD", help="one that returns a Linen module, or (apply, variables)"
    )
    own.add_argument("--shape", type=_shape, help="an event's shape, such as 32,32,3, for drawn events")
    own.add_argument("--rules", help="the rule table, a .toml file (default: inferred)")
    own.add_argument("--save-rules", metavar="FILE", help="write the inferred table to this .toml file")
    own.add_argument("--gradients", action="store_true", help="compare gradients too")


def run(options: argparse.Namespace) -> int:
    """Do what the command line asks."""
    if options.torch or options.flax:
        return _run_pair(options)
    for name in ("shape", "rules", "save_rules", "gradients"):
        if getattr(options, name):
            raise ConfigurationError(
                f"--{name.replace('_', '-')} is for networks of your own: name them by --torch and --flax"
            )
    from parity import certify
    from parity.models import find_model

    events = options.events or EVENTS
    ndims = find_model(options.model).family.event_ndims
    inputs = _inputs(options.inputs, options.data_dir, events, ndims) if options.inputs else None
    with progress("comparing layers on events", events if inputs is None else len(inputs)) as advance:
        certificate = certify(
            options.checkpoint,
            options.model,
            inputs=inputs,
            output=options.output,
            events=events,
            seed=options.seed,
            ignore=options.ignore,
            inside=options.inside,
            on_batch=advance,
        )
    print(json.dumps(certificate, indent=2) if options.json else describe(certificate))
    return 0


def _run_pair(options: argparse.Namespace) -> int:
    if not (options.torch and options.flax):
        raise ConfigurationError("--torch and --flax are given together: they name the two networks to compare")
    from parity import certify, write_rules
    from parity.certification.report import describe_pair
    from parity.certification.user_networks import build_pair

    output = check_writable(options.output or f"{Path(options.checkpoint).stem}.certificate.json", options.checkpoint)
    x = _pair_inputs(options)
    pair = build_pair(
        options.torch,
        options.flax,
        options.checkpoint,
        x,
        rules=options.rules,
        ignore=options.ignore,
        inside=options.inside,
    )
    if options.save_rules:
        write_rules(options.save_rules, pair.rules)
    certificate = certify(
        pair.module,
        pair.apply,
        pair.variables,
        x,
        rules=pair.rules,
        gradients=options.gradients,
        output=output,
    )
    print(json.dumps(certificate, indent=2) if options.json else describe_pair(certificate))
    return 0


def _pair_inputs(options: argparse.Namespace) -> np.ndarray:
    events = options.events or PAIR_EVENTS
    if options.inputs and options.inputs.endswith(".npy"):
        try:
            array: np.ndarray = np.load(options.inputs, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"--inputs {options.inputs} is no array: {error}") from error
        return array[:events]
    if options.inputs:
        return _inputs(options.inputs, options.data_dir, events, 3)
    if not options.shape:
        raise ConfigurationError("say what the networks take: --shape 32,32,3, --inputs cifar10 or --inputs events.npy")
    return np.random.default_rng(options.seed).standard_normal((events, *options.shape), dtype=np.float32)


def _shape(text: str) -> tuple[int, ...]:
    return tuple(arguments.count(size) for size in text.split(","))


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
