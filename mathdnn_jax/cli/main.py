"""The `mathdnn` program: its parser, and how it presents errors."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import mathdnn_jax
from mathdnn_jax.cli import anomaly, certify, claims, convert, count, demo, evaluate, fold, inpaint, sample, train
from mathdnn_jax.errors import MathdnnError, MathdnnWarning
from mathdnn_jax.signals import watch_signals

COMMANDS = {
    "anomaly": anomaly,
    "inpaint": inpaint,
    "convert": convert,
    "certify": certify,
    "claims": claims,
    "fold": fold,
    "count": count,
    "train": train,
    "evaluate": evaluate,
    "sample": sample,
    "demo": demo,
}

INTERRUPTED = 130


def build_parser() -> argparse.ArgumentParser:
    """Build the parser; each command's module adds its own arguments and provides a function `run`."""
    parser = argparse.ArgumentParser(prog="mathdnn", description=(mathdnn_jax.__doc__ or "").splitlines()[0])
    parser.add_argument("--version", action="version", version=f"mathdnn_jax {mathdnn_jax.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        summary = (module.__doc__ or "").splitlines()[0]
        command = commands.add_parser(name, help=summary, description=summary)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and return its exit status: 0, 1 for a failed certificate, 2 for input that cannot be processed.

    An error of this library becomes one message on standard error; any other error is a bug and keeps its traceback.
    SIGINT and SIGTERM end the process with status 130 and 143: at once, or in `train` once the epoch is saved.
    """
    options = build_parser().parse_args(arguments)
    _, restore = watch_signals()
    try:
        with _notes():
            return int(options.run(options))
    except MathdnnError as error:
        print(f"mathdnn: {type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    except MemoryError as error:
        print(f"mathdnn: MemoryError: there is not enough memory for this: {error}", file=sys.stderr)
        return MathdnnError.exit_code
    except KeyboardInterrupt:
        print("mathdnn: interrupted", file=sys.stderr)
        return INTERRUPTED
    finally:
        restore()


@contextmanager
def _notes() -> Iterator[None]:
    """Show this library's warnings like its errors, always and on one line; other warnings are unchanged."""

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, MathdnnWarning):
            print(f"mathdnn: {message}", file=sys.stderr)
        else:
            before(message, category, *place, **more)

    with warnings.catch_warnings():
        before = warnings.showwarning
        warnings.simplefilter("always", MathdnnWarning)
        warnings.showwarning = show
        yield
