"""Train a flow, a VAE, a GAN, an autoencoder or a small convolutional network; each run has its own folder."""

from __future__ import annotations

import argparse
import contextlib
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
from mathdnn_jax.errors import MathdnnError, MissingDependencyError, TrainingStoppedError
from mathdnn_jax.folder_lock import locked_folder
from mathdnn_jax.progress import epoch_progress
from mathdnn_jax.recipes import Sets, Task, find_recipe, parse_assignments, read_config, train, trained
from mathdnn_jax.recipes.recipe import Settings
from mathdnn_jax.recipes.train import count, steps_per_epoch
from mathdnn_jax.signals import end_process, stop_request
from mathdnn_jax.training import Checkpoints, EpochReport, FitResult, device_mesh, join_processes

OPTIONS = ("data", "data_dir", "epochs", "batch_size", "learning_rate", "seed", "precision")
"""Settings with their own option, which takes precedence over --set, as --set does over --config."""

WHEN_LOST = (
    "mathdnn: if a process is lost, the others end with an error, or JAX's runtime ends them with 'Terminating "
    "process' and a C++ stack; then start all of them again with --resume"
)


def run(options: argparse.Namespace) -> int:
    """Run the command.

    A signal ends it at once as long as this process has nothing new to save, and also when everything is saved.
    """
    several = join_processes(
        options.coordinator, options.processes, options.process_id, timeout=options.coordinator_timeout
    )
    if not several:
        return _run(options, several)
    print(WHEN_LOST, file=sys.stderr)
    try:
        return _run(options, several)
    except MathdnnError as error:
        # An orderly end would wait minutes for the other processes, which wait for this one.
        end_process(error.exit_code, f"{type(error).__name__}: {error}")


def _run(options: argparse.Namespace, several: bool) -> int:
    mesh = device_mesh(options.devices) if several or options.devices is not None else None
    folder = Path(options.output or Path("runs") / options.model)
    first = jax.process_index() == 0
    # The first process creates the folder, so the others may find that it exists.
    resume, given = bool(options.resume) or not first, given_settings(options)
    settings = run_folder.resolve_settings(folder, options.model, given, resume=resume)
    recipe = find_recipe(options.model)
    sets = recipe.load(settings)
    task = recipe.build(settings, sets.image_shape)
    with contextlib.ExitStack() as stack:
        if first:
            check_safetensors()
            check_grid(sets.image_shape)
            run_folder.make_folder(folder)
            stack.enter_context(locked_folder(folder))
            # Another run may have begun and ended there meanwhile.
            settings = run_folder.resolve_settings(folder, options.model, given, resume=resume)
            run_folder.write_config(folder, options.model, settings, sets.image_shape)
            print(describe_sets(options.model, settings, sets), file=sys.stderr)
        try:
            result = fit_with_log(options, settings, task, sets, folder, mesh)
        except TrainingStoppedError as error:
            if first:
                epochs = settings["epochs"]
                print(f"mathdnn: stopped after epoch {error.epoch} of {epochs}; --resume continues", file=sys.stderr)
            return stop_request().status
        return _finish(options, settings, task, sets, result, folder)


def _finish(
    options: argparse.Namespace, settings: Settings, task: Task, sets: Sets, result: FitResult, folder: Path
) -> int:
    """Evaluate, and write what the run's folder holds besides checkpoints."""
    params, state = trained(result)
    # Every process evaluates, so that none times out waiting for the first one.
    figures = task.evaluate(params, state, sets)
    if jax.process_index() != 0:
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
    first, request = jax.process_index() == 0, stop_request()
    with (
        run_log(folder) as log,
        epoch_progress(f"{options.model}, epochs", settings["epochs"], quiet=not first) as tell,
    ):

        def watch(report: EpochReport) -> None:
            # Until now there was nothing to save, and a signal ended the process at once.
            request.postpone("stopping at the end of this epoch; a second signal stops at once")
            if first:
                log(report)
            tell(report.epoch, describe_epoch(report))

        result = train(task, settings, sets, mesh=mesh, checkpoints=checkpoints, callback=watch, stop=request)
    # Everything is saved.
    request.act()
    return result


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
    return f"{measured}; {report.examples / max(report.seconds, 1e-9):,.0f} examples/s"


def describe(figures: dict[str, float]) -> str:
    """The final evaluation as readable text."""
    width = max(len(name) for name in figures) + 2
    return "\n".join(
        f"{name.replace('_', ' '):<{width}}{value:,}" if isinstance(value, int) else
        f"{name.replace('_', ' '):<{width}}{value:,.6g}"
        for name, value in figures.items()
    )  # fmt: skip
