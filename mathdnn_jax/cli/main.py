"""`mathdnn`: the parser, and what an error looks like to a person."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import mathdnn_jax
from mathdnn_jax.cli import anomaly, certify, convert, demo
from mathdnn_jax.errors import MathdnnError

COMMANDS = {"anomaly": anomaly, "convert": convert, "certify": certify, "demo": demo}

BAD_INPUT = 2
INTERRUPTED = 130


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each command's module adds its own arguments and its function `run`."""
    parser = argparse.ArgumentParser(prog="mathdnn", description=mathdnn_jax.__doc__)
    parser.add_argument("--version", action="version", version=f"mathdnn_jax {mathdnn_jax.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        summary = (module.__doc__ or "").splitlines()[0]
        command = commands.add_parser(name, help=summary, description=summary)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns 0, 1 for a certificate that fails, 2 for input that cannot be worked with.

    An error of this library is explained in one message on standard error; any other is a bug and keeps its trace.
    """
    options = build_parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except MathdnnError as error:
        print(f"mathdnn: {type(error).__name__}: {error}", file=sys.stderr)
        return 1 if type(error).__name__ == "CertificationError" else BAD_INPUT
    except KeyboardInterrupt:
        print("mathdnn: interrupted", file=sys.stderr)
        return INTERRUPTED
