"""What parity knows of a model that it converts by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from parity.models.family import Events, Family
from parity.rules.layouts import Shape
from parity.rules.table import RuleTable
from parity.rules.tree import flatten

Config = dict[str, Any]
"""A model's hyperparameters, as a certificate states them: whole numbers, and lists of them."""


class Model(NamedTuple):
    """A rule table, a PyTorch twin, a JAX model, and a way to read their hyperparameters off a state."""

    family: Family
    """How the model is run and watched."""
    event_ndims: int
    """The number of axes of an event: 1 for vectors, 3 for H × W x C images."""
    infer_config: Callable[[Mapping[str, np.ndarray]], Config]
    """PyTorch state → hyperparameters; raises WrongModelError for the state of another model."""
    params_config: Callable[[Mapping[str, Any]], Config]
    """Flat JAX parameters → hyperparameters; raises WrongModelError likewise."""
    table: Callable[[Config], RuleTable]
    """Hyperparameters → the rules, in PyTorch's order."""
    build: Callable[..., Any]
    """Hyperparameters as keywords → the JAX model, of the type that the family knows."""
    events: Callable[[Config], Events]
    """Hyperparameters → the events that the model takes."""
    twin: Callable[..., Any]
    """Hyperparameters as keywords → the PyTorch module (imports torch)."""
    submodules: Callable[[Config], dict[str, str]]
    """Hyperparameters → {JAX layer: the PyTorch submodule that computes the same}."""


def target_shapes(model: Model, config: Config) -> dict[str, Shape]:
    """Return {path: shape} of the JAX model's parameters; nothing is computed."""
    tree = model.family.init(model.build(**config), model.events(config))
    return {path: tuple(leaf.shape) for path, leaf in flatten(tree).items()}
