"""Convert a checkpoint from PyTorch to JAX, or a converted file back to PyTorch."""

from __future__ import annotations

import argparse
from pathlib import Path

from mathdnn_jax.cli.arguments import add_checkpoint_arguments
from mathdnn_jax.files import check_writable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "source", help="a PyTorch checkpoint (.pt, .pth, .safetensors), or a file written by this command"
    )
    parser.add_argument(
        "output",
        help=".safetensors for JAX parameters; .pt, .pth or .safetensors when converting back to PyTorch",
    )
    add_checkpoint_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from parity.containers.checkpoint import announce, read
    from parity.store import holds_params, rebuild, save_params, save_state

    source, output = Path(options.source), check_writable(options.output, options.source)
    checkpoint = read(source, inside=options.inside)
    announce(source, checkpoint.selection, options.inside)
    back = holds_params(checkpoint)
    model = rebuild(checkpoint, options.model, ignore=options.ignore)
    if back:
        save_state(output, model.state)
    else:
        save_params(output, model.params, options.model)
    sizes = ", ".join(f"{name} {value}" for name, value in model.config.items())
    print(
        f"{source} -> {output}: {options.model} ({sizes}), {len(model.state)} arrays, {model.parameters:,} parameters, "
        f"{'JAX to PyTorch' if back else 'PyTorch to JAX'}, bit for bit"
    )
    return 0
