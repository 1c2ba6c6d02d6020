"""The settings of a run: defaults, a file, and what was said on top of it."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.recipes.recipe import Recipe, Value
from mathdnn_jax.seeds import check_seed

COMMON: Mapping[str, Value] = MappingProxyType(
    {
        "data": "mnist",
        "data_dir": "",
        "seed": 0,
        "epochs": 10,
        "batch_size": 100,
        "learning_rate": 1e-3,
        "schedule": "constant",
        "b1": 0.9,
        "b2": 0.999,
        "eps": 1e-8,
        "clip_norm": 0.0,
        "ema_decay": 0.0,
        "precision": "float32",
        "validation": 1 / 6,
        "remainder": "pad",
        "checkpoint_epochs": 1,
        "keep": 3,
    }
)
"""Of all recipes. Adam has `b1`, `b2`, `eps`; `clip_norm` and `ema_decay` are off at 0; `validation` is a fraction."""

CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "schedule": ("constant", "cosine"),
        "precision": ("float32", "bfloat16"),
        "remainder": ("pad", "wrap", "drop"),
    }
)
COUNTS = ("epochs", "batch_size", "checkpoint_epochs", "keep")
KINDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", list: "a list of numbers"}


def known_settings(recipe: Recipe) -> dict[str, Value]:
    """All settings of a recipe with their defaults."""
    return {**COMMON, **recipe.defaults}


def resolve(name: str, recipe: Recipe, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run: the recipe's defaults, with what was given in their place, checked.

    Raises:
        ConfigurationError: a key is unknown, or a value of the wrong kind or out of range.
    """
    defaults = known_settings(recipe)
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise ConfigurationError(
            f"{name} has no setting {', '.join(map(repr, unknown))}; its settings are {', '.join(sorted(defaults))}"
        )
    data = given.get("data", defaults["data"])
    going_with_it = {key: values[data] for key, values in recipe.by_data.items() if data in values}
    settings = {
        key: _of_kind(key, value, defaults[key]) for key, value in {**defaults, **going_with_it, **given}.items()
    }
    for key, choices in {**CHOICES, **recipe.choices}.items():
        if settings[key] not in choices:
            raise ConfigurationError(f"{key} of {name} is one of {', '.join(choices)}; given {settings[key]!r}")
    check_seed(settings["seed"])
    few = [f"{key}={settings[key]}" for key in COUNTS if settings[key] < 1]
    if few:
        raise ConfigurationError(f"these are counted from one: given {', '.join(few)}")
    if not (settings["learning_rate"] > 0 and math.isfinite(settings["learning_rate"])):
        raise ConfigurationError(f"a learning rate is a positive number, given {settings['learning_rate']}")
    if not 0 <= settings["validation"] < 1:
        raise ConfigurationError(f"a fraction in [0, 1) is held out for validation, given {settings['validation']}")
    return settings


def read_config(path: str | os.PathLike[str], name: str) -> dict[str, Any]:
    """The settings that a TOML file gives for a model, such as the `config.toml` of a run.

    Its `model`, if there is one, is `name`; tables, which tell what a run was made with, are left out.

    Raises:
        ConfigurationError: it cannot be read, is no TOML, or is for another model.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the settings in {path} cannot be read: {error}") from error
    model = content.pop("model", name)
    if model != name:
        raise ConfigurationError(f"{path} has settings of {model!r}, not of {name!r}")
    return {key: value for key, value in content.items() if not isinstance(value, dict)}


def parse_assignments(texts: Iterable[str]) -> dict[str, Any]:
    """`key=value` texts as settings; a value is read as TOML, and as a plain text where it is none.

    Raises:
        ConfigurationError: a text has no "=", or a key is given twice.
    """
    given: dict[str, Any] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not key:
            raise ConfigurationError(f"a setting is given as key=value, given {text!r}")
        if key in given:
            raise ConfigurationError(f"the setting {key!r} is given twice")
        try:
            given[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            given[key] = value
    return given


def _of_kind(key: str, value: Any, default: Value) -> Any:
    """The value in the default's type."""
    kind = type(default)
    if kind is float and type(value) is int:
        value = float(value)
    right = type(value) is kind
    if right and kind is list:
        right = all(type(entry) is int for entry in value)
    if not right:
        raise ConfigurationError(f"{key} is {KINDS[kind]}, such as {default!r}; given {value!r}")
    return value
