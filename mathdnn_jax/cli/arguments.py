"""Arguments shared by several commands. Invalid numbers are rejected when they are parsed, not when they are used."""

from __future__ import annotations

import argparse

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.seeds import check_seed


def add_checkpoint_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of every command that reads a checkpoint."""
    parser.add_argument("--model", default="nice", help="the model of the checkpoint (default: nice)")
    add_ignore_argument(parser)


def add_data_dir_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the folder of the data sets."""
    parser.add_argument("--data-dir", help="root of the data sets (default: $MATHDNN_DATA, else a cache folder)")


def add_ignore_argument(parser: argparse.ArgumentParser) -> None:
    """Add the options to ignore keys of a checkpoint and to choose one of its dictionaries."""
    parser.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="KEY",
        help="ignore this key, or all that match this pattern; may be repeated",
    )
    parser.add_argument(
        "--inside", metavar="NAME", help="the dictionary in the file that holds the weights, such as model_state"
    )


def count(text: str) -> int:
    """Parse an integer of at least 1, for `argparse`."""
    number = _whole(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def seed(text: str) -> int:
    """Parse an integer from 0 to 2³² − 1, for `argparse`."""
    try:
        return check_seed(_whole(text))
    except ConfigurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from error
