"""Arguments that several commands have; numbers are refused where they are given, not where they are used."""

from __future__ import annotations

import argparse

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.seeds import check_seed


def add_checkpoint_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every command that reads a checkpoint takes."""
    parser.add_argument("--model", default="nice", help="the model that the checkpoint is of (default: nice)")
    add_ignore_argument(parser)


def add_ignore_argument(parser: argparse.ArgumentParser) -> None:
    """Add the options that leave keys of a checkpoint out, and say which of its dictionaries is meant."""
    parser.add_argument(
        "--ignore", action="append", default=[], metavar="KEY", help="leave this key out on purpose; may be repeated"
    )
    parser.add_argument(
        "--inside", metavar="NAME", help="the dictionary of the file that holds the weights, such as model_state"
    )


def count(text: str) -> int:
    """A whole number of at least 1, for `argparse`."""
    number = _whole(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def seed(text: str) -> int:
    """A whole number from 0 to 2³² − 1, for `argparse`."""
    try:
        return check_seed(_whole(text))
    except ConfigurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from error
