"""Evaluate a trained run on its test data."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("run_folder", metavar="RUN", help="the folder of a `mathdnn train` run")
    parser.add_argument("--data-dir", help="root of the data sets (default: the one used in training)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from mathdnn_jax.cli.run_folder import read_run
    from mathdnn_jax.cli.train import describe
    from mathdnn_jax.recipes import find_recipe

    found = read_run(Path(options.run_folder))
    settings = dict(found.settings)
    if options.data_dir is not None:
        settings["data_dir"] = options.data_dir
    sets = find_recipe(found.model).load(settings)
    figures = found.task.evaluate(found.params, found.state, sets)
    print(json.dumps(figures) if options.json else describe(figures))
    return 0
