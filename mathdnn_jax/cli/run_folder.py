"""The folder of a training run: what it was asked for, and its weights."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mathdnn_jax.cli.run_log import METRICS
from mathdnn_jax.errors import ConfigurationError, OutputError, ParameterStructureError
from mathdnn_jax.files import replace_file
from mathdnn_jax.recipes import Task, find_recipe, read_config, resolve
from mathdnn_jax.recipes.recipe import Settings
from mathdnn_jax.training.update import Tree
from mathdnn_jax.versions import versions

CONFIG, WEIGHTS, CHECKPOINTS, EVALUATION = "config.toml", "weights.safetensors", "checkpoints", "evaluation.json"
CHANGEABLE = ("epochs", "keep", "checkpoint_epochs", "data_dir")
"""Settings that a resumed run may have otherwise than before."""


class Trained(NamedTuple):
    """A run's model, read from its folder."""

    model: str
    settings: Settings
    image_shape: tuple[int, ...]
    task: Task
    params: Tree
    state: Tree


def make_folder(folder: Path) -> None:
    """Make the folder.

    Raises:
        OutputError: it cannot be made, or nothing can be written in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"a run cannot be written in {folder}: {error}") from error


def write_config(folder: Path, model: str, settings: Settings, image_shape: tuple[int, ...]) -> None:
    """Write `config.toml`: `--config` takes it, and trains the same model again.

    Raises:
        OutputError: it cannot be written.
    """
    lines = [f"model = {_toml(model)}", *(f"{key} = {_toml(value)}" for key, value in settings.items())]
    lines += ["", "[images]", f"shape = {_toml(list(image_shape))}"]
    lines += ["", "[versions]", *(f"{name} = {_toml(text)}" for name, text in versions().items())]
    with replace_file(folder / CONFIG) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def holds_run(folder: Path) -> bool:
    """Whether a run has got so far there that something would be lost if another began."""
    trained = (folder / METRICS).exists() or any((folder / CHECKPOINTS).glob("[0-9]*"))
    return trained and (folder / CONFIG).exists()


def settings_of(folder: Path, model: str, given: Mapping[str, Any], *, resume: bool) -> dict[str, Any]:
    """The settings of a run that begins in this folder or goes on there, where they are those it began with.

    Raises:
        ConfigurationError: as `resolve` does; or the folder has a run and nothing was said of resuming, or something
            was given that a run cannot change on its way.
    """
    recipe = find_recipe(model)
    if not holds_run(folder):
        return resolve(model, recipe, given)
    if not resume:
        raise ConfigurationError(f"{folder} already has a run: say --resume to go on with it, or name another folder")
    before = read_config(folder / CONFIG, model)
    settings = resolve(model, recipe, {**before, **given})
    differ = [
        f"{key}={settings[key]!r} in place of {value!r}"
        for key, value in before.items()
        if settings[key] != value and key not in CHANGEABLE
    ]
    if settings["epochs"] != before["epochs"] and settings["schedule"] != "constant":
        differ.append(f"epochs={settings['epochs']} in place of {before['epochs']}, which the schedule depends on")
    if differ:
        raise ConfigurationError(f"the run in {folder} goes on as it began; it was asked for {', '.join(differ)}")
    return settings


def write_weights(folder: Path, task: Task, params: Tree, state: Tree) -> list[str]:
    """Write `weights.safetensors`, and PyTorch's state dict of every part that `parity` knows; returns their names.

    A file of one known model is the library's own: `mathdnn convert`, `anomaly` and the others read it too.

    Raises:
        OutputError, MissingDependencyError: they cannot be written.
    """
    from parity import export, save_params, save_state
    from parity.store import save_tree

    tree = task.variables(params, state)
    if set(task.torch) == {""}:
        save_params(folder / WEIGHTS, tree, task.torch[""])
    else:
        save_tree(folder / WEIGHTS, tree)
    written = [WEIGHTS]
    for part, model in task.torch.items():
        name = f"{part or 'weights'}.pytorch.safetensors"
        save_state(folder / name, export(tree[part] if part else tree, model))
        written.append(name)
    return written


def read_run(folder: Path) -> Trained:
    """The model that a run has trained.

    Raises:
        ConfigurationError: there is no run, or one that has not ended.
        CheckpointError, ParameterStructureError: the weights are damaged, or are not the model's.
    """
    from parity import load
    from parity.rules.tree import flatten

    if not (folder / CONFIG).exists():
        raise ConfigurationError(f"{folder} has no run of `mathdnn train`: there is no {CONFIG}")
    try:
        content = tomllib.loads((folder / CONFIG).read_text(encoding="utf-8"))
        model, image_shape = content["model"], tuple(content["images"]["shape"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{folder / CONFIG} is not what `mathdnn train` writes: {error!r}") from error
    if not (folder / WEIGHTS).exists():
        raise ConfigurationError(f"the run in {folder} has not ended: go on with mathdnn train {model} --resume")
    recipe = find_recipe(model)
    settings = resolve(model, recipe, read_config(folder / CONFIG, model))
    task = recipe.build(settings, image_shape)
    arrays = load(folder / WEIGHTS)
    tree = task.variables(*jax.eval_shape(lambda: task.init(jax.random.key(0), None)))
    expected = flatten(tree)
    found = {name: array.shape for name, array in arrays.items()}
    if found != {name: leaf.shape for name, leaf in expected.items()}:
        raise ParameterStructureError(
            f"{folder / WEIGHTS} has other arrays than the model of {CONFIG}: "
            f"{sorted(set(found.items()) ^ {(name, leaf.shape) for name, leaf in expected.items()})[:6]}"
        )
    params, state = task.restore(_filled(tree, arrays))
    return Trained(model, settings, image_shape, task, params, state)


def write_json(path: Path, figures: Mapping[str, Any]) -> None:
    """Write one JSON object.

    Raises:
        OutputError: it cannot be written.
    """
    with replace_file(path) as temporary:
        temporary.write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _filled(tree: Mapping[str, Any], arrays: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Arrays by their paths in the structure of `tree`, whose empty parts no path tells of."""
    return {
        name: _filled(part, arrays, f"{path}{name}/")
        if isinstance(part, Mapping)
        else jnp.asarray(arrays[f"{path}{name}"])
        for name, part in tree.items()
    }


def _toml(value: Any) -> str:
    """A setting as TOML writes it; JSON's texts, numbers and lists are TOML's."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return json.dumps(value)
