"""The folder of a training run, with its configuration and its weights."""

from __future__ import annotations

import json
import math
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
from mathdnn_jax.recipes.settings import read_toml, shown
from mathdnn_jax.training.update import Tree
from mathdnn_jax.versions import versions

CONFIG, WEIGHTS, CHECKPOINTS, EVALUATION = "config.toml", "weights.safetensors", "checkpoints", "evaluation.json"
MOST_PIXELS = 2**16
"""The greatest height or width of images."""
CHANGEABLE = ("epochs", "keep", "checkpoint_epochs", "data_dir")
"""Settings that may be changed when a run is resumed."""


class TrainedRun(NamedTuple):
    """A trained model, read from the folder of its run."""

    model: str
    settings: Settings
    image_shape: tuple[int, ...]
    task: Task
    params: Tree
    state: Tree


def make_folder(folder: Path) -> None:
    """Create the folder.

    Raises:
        OutputError: It cannot be created or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"a run cannot be written in {folder}: {error}") from error


def write_config(folder: Path, model: str, settings: Settings, image_shape: tuple[int, ...]) -> None:
    """Write `config.toml`, which can be passed as `--config` to train the same model again.

    Raises:
        ConfigurationError: A setting is a name that is not text, as Unix allows names of files.
        OutputError: It cannot be written.
    """
    lines = [f"model = {_toml(model)}", *(f"{key} = {_toml(value)}" for key, value in settings.items())]
    lines += ["", "[images]", f"shape = {_toml(list(image_shape))}"]
    lines += ["", "[versions]", *(f"{name} = {_toml(text)}" for name, text in versions().items())]
    try:
        content = ("\n".join(lines) + "\n").encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"a setting holds bytes that are not text, which TOML cannot: {error}") from error
    with replace_file(folder / CONFIG) as temporary:
        temporary.write_bytes(content)


def holds_run(folder: Path) -> bool:
    """Whether the folder contains results of a run that would be lost if another run started there."""
    trained = (folder / METRICS).exists() or any((folder / CHECKPOINTS).glob("[0-9]*"))
    return trained and (folder / CONFIG).exists()


def resolve_settings(folder: Path, model: str, given: Mapping[str, Any], *, resume: bool) -> dict[str, Any]:
    """The settings of a run that starts in this folder, or is resumed there with its original settings.

    Raises:
        ConfigurationError: As in `resolve`; or the folder has a run and `resume` is False, or `given` changes a setting
            that a resumed run cannot change.
    """
    recipe = find_recipe(model)
    if not holds_run(folder):
        return resolve(model, recipe, given)
    if not resume:
        raise ConfigurationError(f"{folder} already has a run: pass --resume to continue it, or name another folder")
    before = read_config(folder / CONFIG, model)
    resolve(model, recipe, before)  # before anything is compared, in case the file was edited
    settings = resolve(model, recipe, {**before, **given})
    differ = [
        f"{key}={shown(settings[key])} instead of {shown(value)}"
        for key, value in before.items()
        if settings[key] != value and key not in CHANGEABLE
    ]
    epochs = before.get("epochs", settings["epochs"])
    if settings["epochs"] != epochs and settings["schedule"] != "constant":
        differ.append(f"epochs={settings['epochs']} instead of {epochs}, on which the schedule depends")
    if differ:
        raise ConfigurationError(f"a resumed run keeps its settings; for {folder} you gave {', '.join(differ)}")
    return settings


def write_weights(folder: Path, task: Task, params: Tree, state: Tree) -> list[str]:
    """Write `weights.safetensors`, and a PyTorch state dict of every part that `parity` knows; return the file names.

    If the whole model is known, `mathdnn convert`, `anomaly` and other commands can read its weights too.

    Raises:
        OutputError, MissingDependencyError: The files cannot be written.
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


def read_run(folder: Path) -> TrainedRun:
    """Read the trained model of a run.

    Raises:
        ConfigurationError: There is no run in the folder, or it has not finished.
        CheckpointError, ParameterStructureError: The weights are damaged, or belong to another model.
    """
    from parity import load
    from parity.rules.tree import flatten

    if not (folder / CONFIG).exists():
        raise ConfigurationError(f"{folder} has no `mathdnn train` run: there is no {CONFIG}")
    content = read_toml(folder / CONFIG)
    model, image_shape = content.get("model"), _image_shape(content.get("images"))
    if not isinstance(model, str) or image_shape is None:
        raise ConfigurationError(
            f"{folder / CONFIG} is not as `mathdnn train` wrote it: expected a model's name, given "
            f"{shown(model)}, and [images] with a shape of 0, 2 or 3 sizes, given {shown(content.get('images'))}"
        )
    if not (folder / WEIGHTS).exists():
        raise ConfigurationError(
            f"the run in {folder} has not finished: continue it with mathdnn train {model} -o {folder} --resume"
        )
    recipe = find_recipe(model)
    settings = resolve(model, recipe, read_config(folder / CONFIG, model))
    task = recipe.build(settings, image_shape)
    arrays = load(folder / WEIGHTS)
    tree = task.variables(*jax.eval_shape(lambda: task.init(jax.random.key(0), None)))
    expected = flatten(tree)
    found = {name: array.shape for name, array in arrays.items()}
    if found != {name: leaf.shape for name, leaf in expected.items()}:
        raise ParameterStructureError(
            f"{folder / WEIGHTS} does not have the arrays of the model in {CONFIG}: "
            f"{sorted(set(found.items()) ^ {(name, leaf.shape) for name, leaf in expected.items()})[:6]}"
        )
    params, state = task.restore(_filled(tree, arrays))
    return TrainedRun(model, settings, image_shape, task, params, state)


def write_json(path: Path, figures: Mapping[str, Any]) -> None:
    """Write one JSON object.

    Raises:
        OutputError: It cannot be written.
    """
    with replace_file(path) as temporary:
        temporary.write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _filled(tree: Mapping[str, Any], arrays: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Arrange arrays, given by their paths, in the structure of `tree`; the paths do not mention its empty parts."""
    return {
        name: _filled(part, arrays, f"{path}{name}/")
        if isinstance(part, Mapping)
        else jnp.asarray(arrays[f"{path}{name}"])
        for name, part in tree.items()
    }


def _image_shape(images: object) -> tuple[int, ...] | None:
    """The size of images that a configuration states, () for numbers; None if it is not one."""
    shape = images.get("shape") if isinstance(images, Mapping) else None
    if not isinstance(shape, list) or len(shape) not in (0, 2, 3):
        return None
    return tuple(shape) if all(type(size) is int and 0 < size <= MOST_PIXELS for size in shape) else None


def _toml(value: Any) -> str:
    """Format a setting as TOML, in which strings, numbers and lists are written as in JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    # JSON's escapes for characters beyond 16 bits are not TOML's, and TOML escapes one control character more.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
