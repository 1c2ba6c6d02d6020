"""The `mathdnn` program: its parser, and how it presents errors."""

from __future__ import annotations

import argparse
import importlib
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import mathdnn_jax
from mathdnn_jax.errors import MathdnnError, MathdnnWarning
from mathdnn_jax.signals import watch_signals

COMMANDS = {
    "anomaly": "Detect anomalies by likelihood, and report threshold, type I and II errors, AUROC and images per "
    "second.",
    "inpaint": "Fill in missing pixels by a flow's likelihood, and draw the original, corrupted and filled images.",
    "convert": "Convert a checkpoint from PyTorch to JAX, or a converted file back to PyTorch.",
    "certify": "Certify a checkpoint: run PyTorch and JAX on the same inputs, compare them layer by layer, write a "
    "JSON certificate.",
    "claims": "Check the mathematical claims on random examples; a counterexample must be found for each refuted one.",
    "fold": "Fold the batch norms of a checkpoint into its weights, and report what was done to each layer.",
    "count": "Count a network's operations, parameters and activations, with each layer's receptive field and stride.",
    "train": "Train a flow, a VAE, a GAN, an autoencoder or a small convolutional network; each run has its own "
    "folder.",
    "evaluate": "Evaluate a trained run on its test data.",
    "sample": "Draw samples from a trained model, as a picture or an array.",
    "demo": "Train a small PyTorch flow, convert and certify it, detect anomalies, draw samples, and write "
    "report.html.",
}
"""The commands with their summaries, the first lines of their modules, which are imported for their own command only.

A command's arguments are parsed before JAX, PyTorch and other large packages are imported, which takes seconds.
"""

ARGUMENTS = {"train": "train_arguments"}
"""The modules of arguments that are separate from what the command imports."""

INTERRUPTED = 130


def build_parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """Build the parser; the module of the chosen command adds its arguments and provides a function `run`."""
    parser = argparse.ArgumentParser(prog="mathdnn", description=(mathdnn_jax.__doc__ or "").splitlines()[0])
    parser.add_argument("--version", action="version", version=f"mathdnn_jax {mathdnn_jax.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if name == chosen:
            module = importlib.import_module(f"mathdnn_jax.cli.{ARGUMENTS.get(name, name)}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and return its exit status: 0, 1 for a failed certificate, 2 for input that cannot be processed.

    An error of this library becomes one message on standard error; any other error is a bug and keeps its traceback.
    SIGINT and SIGTERM end the process with status 130 and 143: at once, or in `train` once the epoch is saved.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    # No option of the program itself takes a value, so the first other argument is the command.
    chosen = next((argument for argument in given if not argument.startswith("-")), None)
    options = build_parser(chosen).parse_args(given)
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
