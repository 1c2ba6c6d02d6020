"""The settings of a run: defaults, overridden by a file, overridden by assignments."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

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
"""The settings that all recipes have, with their defaults.

`b1`, `b2` and `eps` belong to Adam; `clip_norm` and `ema_decay` are off at 0; `validation` is a fraction.
"""

CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "schedule": ("constant", "cosine"),
        "precision": ("float32", "bfloat16"),
        "remainder": ("pad", "wrap", "drop"),
    }
)
COUNTS = ("epochs", "batch_size", "checkpoint_epochs", "keep")
GREATEST_COUNT = 2**31 - 1
"""The greatest whole number that a setting can be, apart from the seed: steps and sizes are computed in int32."""
LEAST, GREATEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
"""The least positive and the greatest number of float32, in which the optimiser computes."""
LONGEST_SHOWN = 80
KINDS = {
    int: "an integer",
    float: "a number",
    str: "a string",
    bool: "true or false",
    list: "a list of whole numbers",
}


def known_settings(recipe: Recipe) -> dict[str, Value]:
    """List all settings of a recipe.

    Returns:
        The names of the settings with their defaults.
    """
    return {**COMMON, **recipe.defaults}


def resolve(name: str, recipe: Recipe, given: Mapping[str, Any]) -> dict[str, Any]:
    """Combine the defaults of a recipe with given settings and check them.

    Returns:
        The settings of a run.

    Raises:
        ConfigurationError: a key is unknown, or a value has the wrong type or is out of range.

    Example:
        >>> import mathdnn_jax as mj
        >>> settings = mj.recipes.resolve("nice", mj.recipes.find_recipe("nice"), {"epochs": 3})
        >>> settings["epochs"], settings["batch_size"]
        (3, 200)
    """
    defaults = known_settings(recipe)
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise ConfigurationError(
            f"{name} has no setting {', '.join(map(repr, unknown))}; its settings are {', '.join(sorted(defaults))}"
        )
    data = given.get("data", defaults["data"])
    for_data = {key: values[data] for key, values in recipe.by_data.items() if data in values}
    settings = {key: _typed(key, value, defaults[key]) for key, value in {**defaults, **for_data, **given}.items()}
    for key, choices in {**CHOICES, **recipe.choices}.items():
        if settings[key] not in choices:
            raise ConfigurationError(f"{key} of {name} is one of {', '.join(choices)}; given {shown(settings[key])}")
    _check_whole_numbers(settings)
    _check_numbers(settings)
    return settings


def _check_whole_numbers(settings: Mapping[str, Any]) -> None:
    check_seed(settings["seed"])
    few = [f"{key}={settings[key]}" for key in COUNTS if settings[key] < 1]
    if few:
        raise ConfigurationError(f"{', '.join(COUNTS)} must be at least 1, given {', '.join(few)}")
    for key, value in settings.items():
        several = value if isinstance(value, list) else [value] if type(value) is int and key != "seed" else []
        if any(not 0 <= number <= GREATEST_COUNT for number in several):
            raise ConfigurationError(
                f"{key} must be whole numbers from 0 to {GREATEST_COUNT}, given {shown(value)}"
                if isinstance(value, list)
                else f"{key} must be a whole number from 0 to {GREATEST_COUNT}, given {shown(value)}"
            )


def _check_numbers(settings: Mapping[str, Any]) -> None:
    """Check the numbers as float32, where 1 − 1e-9 is 1, and 1e-50 is 0."""
    for key in ("learning_rate", "eps"):
        if not settings[key] >= LEAST:
            raise ConfigurationError(f"{key} must be a positive number, at least {LEAST:.4g}, given {settings[key]}")
    for key in ("b1", "b2", "ema_decay"):
        if not (settings[key] >= 0 and np.float32(settings[key]) < 1):
            raise ConfigurationError(
                f"{key} is the decay of an average and must be in [0, 1) in float32, given {settings[key]}"
            )
    if not settings["clip_norm"] >= 0:
        raise ConfigurationError(
            f"clip_norm must be a positive number, or 0 for no clipping, given {settings['clip_norm']}"
        )
    if not 0 <= settings["validation"] < 1:
        raise ConfigurationError(
            f"the fraction held out for validation must be in [0, 1), given {settings['validation']}"
        )
    for key, value in settings.items():
        if type(value) is float and not abs(value) <= GREATEST:
            raise ConfigurationError(f"{key} must be a number that float32 can hold, given {value}")


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ConfigurationError: it cannot be read, is not TOML, or is nested deeper than any settings are.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the settings in {path} cannot be read: {error}") from error
    except RecursionError:
        raise ConfigurationError(
            f"the settings in {path} cannot be read: their brackets are nested too deeply"
        ) from None


def read_config(path: str | os.PathLike[str], name: str) -> dict[str, Any]:
    """Read the settings for a model from a TOML file, such as the `config.toml` of a run.

    The file's `model`, if present, must be `name`. Tables, which record the environment of a run, are skipped.

    Returns:
        The settings in the file, not yet checked; see `resolve`.

    Raises:
        ConfigurationError: the file cannot be read, is not TOML, or is for another model.
    """
    content = read_toml(path)
    model = content.pop("model", name)
    if model != name:
        raise ConfigurationError(f"{path} has the settings of {shown(model)}, not of {name!r}")
    return {key: value for key, value in content.items() if not isinstance(value, dict)}


def parse_assignments(texts: Iterable[str]) -> dict[str, Any]:
    """Parse `key=value` assignments; a value that is not valid TOML is taken as a plain string.

    Raises:
        ConfigurationError: a text has no "=", or a key is given twice.

    Example:
        >>> import mathdnn_jax as mj
        >>> mj.recipes.parse_assignments(["epochs=3", "data=digits", "hidden=[64, 32]"])
        {'epochs': 3, 'data': 'digits', 'hidden': [64, 32]}
    """
    given: dict[str, Any] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not key:
            raise ConfigurationError(f"settings have the form key=value, given {text!r}")
        if key in given:
            raise ConfigurationError(f"the setting {key!r} is given twice")
        try:
            given[key] = tomllib.loads(f"value = {value}")["value"]
        except (ValueError, RecursionError):  # not TOML, or numbers and brackets beyond all measure
            given[key] = value
    return given


def _typed(key: str, value: Any, default: Value) -> Any:
    """Return the value in the default's type.

    Raises:
        ConfigurationError: the value has another type.
    """
    kind = type(default)
    if kind is float and type(value) is int:
        value = float(value) if abs(value) < 2**1000 else math.inf
    right = type(value) is kind
    if right and kind is list:
        right = all(type(entry) is int for entry in value)
    if not right:
        raise ConfigurationError(f"{key} must be {KINDS[kind]}, such as {default!r}; given {shown(value)}")
    return value


def shown(value: object) -> str:
    """The value as messages show it, cut where it is long; Python refuses to print very long or deep ones."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        return f"a {type(value).__name__} too long to print"
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
