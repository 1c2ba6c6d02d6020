"""The table of models that can be converted by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from parity.errors import UnknownModelError
from parity.families import FLOW, Events, Family
from parity.models import nice
from parity.rules import Rule, Shape
from parity.tree import flatten

Config = dict[str, int]


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


MODELS: dict[str, Model] = {
    "nice": Model(
        family=FLOW,
        infer_config=nice.infer_config,
        params_config=nice.params_config,
        rules=nice.rules,
        build=nice.build,
        events=nice.events,
        twin=nice.twin,
        torch_layers=nice.torch_layers,
    )
}


def find_model(name: str) -> Model:
    """Return the model of this name.

    Raises:
        UnknownModelError: there is none.
    """
    if name not in MODELS:
        raise UnknownModelError(f"no conversion is known for model {name!r}; known: {', '.join(sorted(MODELS))}")
    return MODELS[name]


def target_shapes(model: Model, config: Config) -> dict[str, Shape]:
    """The shape of each parameter leaf of the JAX model, by its path; nothing is computed."""
    tree = model.family.init(model.build(**config), model.events(config))
    return {path: tuple(leaf.shape) for path, leaf in flatten(tree).items()}
