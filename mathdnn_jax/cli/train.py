"""Train a flow, a VAE, a GAN, an autoencoder or a small convolutional network; each run has its own folder."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from mathdnn_jax.cli import run_folder
from mathdnn_jax.cli.run_log import run_log
from mathdnn_jax.cli.run_pictures import check_grid, write_pictures
from mathdnn_jax.errors import MissingDependencyError
from mathdnn_jax.progress import epoch_progress
from mathdnn_jax.recipes import Sets, Task, find_recipe, parse_assignments, read_config, train, trained
from mathdnn_jax.recipes.recipe import Settings
from mathdnn_jax.recipes.train import count, steps_per_epoch
from mathdnn_jax.training import Checkpoints, EpochReport, FitResult, device_mesh, join_processes

OPTIONS = ("data", "data_dir", "epochs", "batch_size", "learning_rate", "seed", "precision")
"""Settings with their own option, which takes precedence over --set, as --set does over --config."""


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    several = join_processes(options.coordinator, options.processes, options.process_id)
    mesh = device_mesh(options.devices) if several or options.devices is not None else None
    folder = Path(options.output or Path("runs") / options.model)
    first = jax.process_index() == 0
    # The first process creates the folder, so the others may find that it exists.
    settings = run_folder.resolve_settings(
        folder, options.model, given_settings(options), resume=bool(options.resume) or not first
    )
    recipe = find_recipe(options.model)
    sets = recipe.load(settings)
    task = recipe.build(settings, sets.image_shape)
    if first:
        check_safetensors()
        check_grid(sets.image_shape)
        run_folder.make_folder(folder)
        run_folder.write_config(folder, options.model, settings, sets.image_shape)
        print(describe_sets(options.model, settings, sets), file=sys.stderr)

    result = fit_with_log(options, settings, task, sets, folder, mesh)
    params, state = trained(result)
    # Every process evaluates, so that none times out waiting for the first one.
    figures = task.evaluate(params, state, sets)
    if not first:
        return 0
    written = run_folder.write_weights(folder, task, params, state)
    run_folder.write_json(folder / run_folder.EVALUATION, figures)
    written += write_pictures(folder, task, params, state, sets, result.history, settings["seed"])
    print(json.dumps(figures) if options.json else describe(figures))
    print(f"{folder}: {', '.join(written)}", file=sys.stderr)
    return 0


def check_safetensors() -> None:
    """Raise MissingDependencyError now, rather than when the weights are written."""
    if importlib.util.find_spec("safetensors") is None:
        raise MissingDependencyError('the weights of a run need safetensors: pip install "mathdnn_jax[train]"')


def given_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings from the command line: options take precedence over --set, and --set over --config."""
    from_file = read_config(options.config, options.model) if options.config else {}
    own = {name: getattr(options, name) for name in OPTIONS if getattr(options, name) is not None}
    return {**from_file, **parse_assignments(options.set), **own}


def fit_with_log(
    options: argparse.Namespace, settings: Settings, task: Task, sets: Sets, folder: Path, mesh: Mesh | None
) -> FitResult:
    """Train and log every epoch; if there are several processes, only the first one logs."""
    checkpoints = Checkpoints(
        folder / run_folder.CHECKPOINTS,
        every_epochs=settings["checkpoint_epochs"],
        keep=settings["keep"],
        resume=options.resume,
        config={"model": options.model, **settings},
    )
    first = jax.process_index() == 0
    with (
        run_log(folder) as log,
        epoch_progress(f"{options.model}, epochs", settings["epochs"], quiet=not first) as tell,
    ):

        def watch(report: EpochReport) -> None:
            if first:
                log(report)
            tell(report.epoch, describe_epoch(report))

        return train(task, settings, sets, mesh=mesh, checkpoints=checkpoints, callback=watch)


def describe_sets(model: str, settings: Settings, sets: Sets) -> str:
    """The data sets as readable text, including what happens to an incomplete last batch."""
    examples, size = count(sets.training), settings["batch_size"]
    over = examples % size
    remainder = {
        "drop": f", with {over} examples skipped in each epoch",
        "pad": f", the last with {over} examples",
        "wrap": f", the last filled with {size - over} examples from the beginning of the epoch",
    }
    return (
        f"{model}: {examples:,} training, {count(sets.validation):,} validation and {count(sets.test):,} test examples "
        f"of {settings['data']}; {steps_per_epoch(settings, examples):,} batches of {size} in an epoch"
        f"{remainder[settings['remainder']] if over else ''}"
    )


def describe_epoch(report: EpochReport) -> str:
    """The metrics of an epoch as readable text."""
    measured = ", ".join(f"{name.replace('_', ' ')} {value:.5g}" for name, value in report.metrics.items())
    return f"{measured}; {report.examples / report.seconds:,.0f} examples/s"


def describe(figures: dict[str, float]) -> str:
    """The final evaluation as readable text."""
    width = max(len(name) for name in figures) + 2
    return "\n".join(
        f"{name.replace('_', ' '):<{width}}{value:,}" if isinstance(value, int) else
        f"{name.replace('_', ' '):<{width}}{value:,.6g}"
        for name, value in figures.items()
    )  # fmt: skip
