"""Where a command writes: to the file that its user names, or else to a default name that is still free."""

from __future__ import annotations

import argparse
from pathlib import Path

from mathdnn_jax.errors import OutputError


def add_output_arguments(parser: argparse.ArgumentParser, what: str, default: str) -> None:
    """Add the options of a command whose output has a default name."""
    parser.add_argument("--output", "-o", help=f"{what} (default: {default}); what you name is replaced")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an output of the default name too (default: refuse)"
    )


def output_path(options: argparse.Namespace, default: str) -> Path:
    """Return the file or folder to write.

    Raises:
        OutputError: Its user named none, and the default exists already and is not to be replaced.
    """
    if options.output is not None:
        return Path(options.output)
    path = Path(default)
    if path.exists() and not options.overwrite:
        raise OutputError(
            f"{path}, the default output, exists already: name another with --output, or pass --overwrite to replace it"
        )
    return path
