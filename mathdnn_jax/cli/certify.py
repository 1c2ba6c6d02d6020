"""Certify a checkpoint: run PyTorch and JAX on the same inputs, compare them layer by layer, write a JSON certificate.

With --torch and --flax, the two networks are the user's own.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from mathdnn_jax import data
from mathdnn_jax.cli import arguments
from mathdnn_jax.cli.outputs import add_output_arguments, output_path
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.files import check_writable
from mathdnn_jax.progress import progress

EVENTS = 1024
USER_EVENTS = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("checkpoint", help="a PyTorch checkpoint (.pt, .pth, .safetensors)")
    arguments.add_checkpoint_arguments(parser)
    add_output_arguments(parser, "the certificate", "NAME.certificate.json in this folder")
    parser.add_argument(
        "--inputs",
        metavar="DATA",
        help="a data set or, with --torch, a .npy file to compare on (default: drawn events)",
    )
    parser.add_argument("--data-dir", help="root of the data sets (default: $MATHDNN_DATA, else a cache folder)")
    parser.add_argument(
        "--events",
        type=arguments.count,
        help=f"number of events to compare on (default: {EVENTS}; {USER_EVENTS} with --torch)",
    )
    parser.add_argument("--seed", type=arguments.seed, default=0, help="PRNG seed of the drawn events (default: 0)")
    parser.add_argument("--json", action="store_true", help="print the certificate instead of a table")
    own = parser.add_argument_group("your own networks")
    own.add_argument("--torch", metavar="PKG.MODULE:BUILD", help="a function that returns the PyTorch module")
    own.add_argument(
        "--flax", metavar="PKG.MODULE:BUILD", help="a function that returns a Linen module or (apply, variables)"
    )
    own.add_argument("--shape", type=_shape, help="shape of the drawn events, such as 32,32,3")
    own.add_argument("--rules", help="the rule table, a .toml file (default: inferred)")
    own.add_argument("--save-rules", metavar="FILE", help="write the inferred table to this .toml file")
    own.add_argument(
        "--output-layout",
        choices=("same", "channels_first"),
        help="whether PyTorch's output is laid out as JAX's or has its channels first, where its shape does not tell",
    )
    own.add_argument("--gradients", action="store_true", help="compare the gradients too")


def run(options: argparse.Namespace) -> int:
    """Do what the command line asks."""
    if options.torch or options.flax:
        return _run_user_networks(options)
    for name in ("shape", "rules", "save_rules", "output_layout", "gradients"):
        if getattr(options, name):
            raise ConfigurationError(
                f"--{name.replace('_', '-')} is for your own networks: name them with --torch and --flax"
            )
    from parity import certify
    from parity.certification.report import describe
    from parity.models import find_model

    output = _output(options)
    events = options.events or EVENTS
    ndims = find_model(options.model).event_ndims
    inputs = _inputs(options.inputs, options.data_dir, events, ndims) if options.inputs else None
    with progress("comparing layers on events", events if inputs is None else len(inputs)) as advance:
        certificate = certify(
            options.checkpoint,
            options.model,
            inputs=inputs,
            output=output,
            events=events,
            seed=options.seed,
            ignore=options.ignore,
            inside=options.inside,
            on_batch=advance,
        )
    print(json.dumps(certificate, indent=2) if options.json else describe(certificate))
    return 0


def _run_user_networks(options: argparse.Namespace) -> int:
    if not (options.torch and options.flax):
        raise ConfigurationError("give --torch and --flax together: they name the two networks to compare")
    from parity import certify, write_rules
    from parity.certification.report import describe
    from parity.certification.user_networks import load_user_networks

    output = check_writable(_output(options), options.checkpoint)
    x = _user_inputs(options)
    networks = load_user_networks(
        options.torch,
        options.flax,
        options.checkpoint,
        x,
        rules=options.rules,
        ignore=options.ignore,
        inside=options.inside,
    )
    if options.save_rules:
        write_rules(options.save_rules, networks.rules)
    certificate = certify(
        networks.module,
        networks.apply,
        networks.variables,
        x,
        rules=networks.rules,
        output_layout=options.output_layout,
        gradients=options.gradients,
        output=output,
    )
    print(json.dumps(certificate, indent=2) if options.json else describe(certificate))
    return 0


def _output(options: argparse.Namespace) -> Path:
    return output_path(options, f"{Path(options.checkpoint).stem}.certificate.json")


def _user_inputs(options: argparse.Namespace) -> np.ndarray:
    events = options.events or USER_EVENTS
    if options.inputs and options.inputs.endswith(".npy"):
        try:
            array: np.ndarray = np.load(options.inputs, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"--inputs {options.inputs} is not an array: {error}") from error
        return array[:events]
    if options.inputs:
        return _inputs(options.inputs, options.data_dir, events, 3)
    if not options.shape:
        raise ConfigurationError(
            "give the inputs of the networks: --shape 32,32,3, --inputs cifar10 or --inputs events.npy"
        )
    return np.random.default_rng(options.seed).standard_normal((events, *options.shape), dtype=np.float32)


def _shape(text: str) -> tuple[int, ...]:
    return tuple(arguments.count(size) for size in text.split(","))


def _inputs(name: str, data_dir: str | None, events: int, event_ndims: int) -> np.ndarray:
    """Load images as vectors or as images with a channel axis, whichever the model takes."""
    images = data.unit_interval(data.load(name, "test", data_dir).images[:events])
    if event_ndims == 1:
        return images.reshape(len(images), -1)
    return images if images.ndim == 4 else images[..., None]
