"""What parity has to know of one kind of model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from parity.models.families import Events, Family
from parity.rules.checks import Rule, Shape
from parity.rules.tree import flatten

Config = dict[str, Any]
"""A model's hyperparameters, as a certificate states them: whole numbers, and lists of them."""


class Model(NamedTuple):
    """All that conversion and certification need to know of one kind of model."""

    family: Family
    """How models of its family are run and watched."""
    infer_config: Callable[[Mapping[str, np.ndarray]], Config]
    """PyTorch state → the model's hyperparameters; raises WrongModelError for another model's state."""
    params_config: Callable[[Mapping[str, Any]], Config]
    """Flat JAX parameters → the model's hyperparameters; raises WrongModelError likewise."""
    rules: Callable[[Config], tuple[Rule, ...]]
    """Which source key fills which target leaf."""
    build: Callable[..., Any]
    """Hyperparameters as keywords → the JAX model, of the type that the family knows."""
    events: Callable[[Config], Events]
    """What the model takes."""
    twin: Callable[..., Any]
    """Hyperparameters as keywords → the PyTorch module (imports torch)."""
    torch_layers: Callable[[Config], dict[str, str]]
    """JAX layer name → the PyTorch submodule that computes the same."""


def target_shapes(model: Model, config: Config) -> dict[str, Shape]:
    """The shape of each parameter leaf of the JAX model, by its path; nothing is computed."""
    tree = model.family.init(model.build(**config), model.events(config))
    return {path: tuple(leaf.shape) for path, leaf in flatten(tree).items()}
