"""The table of models that can be converted by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from mathdnn_jax.flows import Flow
from parity.errors import UnknownModelError
from parity.models import nice
from parity.rules import Rule, Shape
from parity.tree import flatten

Config = dict[str, int]


class Model(NamedTuple):
    """All that conversion and certification need to know of one kind of model."""

    infer_config: Callable[[Mapping[str, np.ndarray]], Config]
    """PyTorch state → the model's hyperparameters; raises WrongModelError for another model's state."""
    params_config: Callable[[Mapping[str, Any]], Config]
    """Flat JAX parameters → the model's hyperparameters; raises WrongModelError likewise."""
    rules: Callable[[Config], tuple[Rule, ...]]
    """Which source key fills which target leaf."""
    build: Callable[..., Flow]
    """Hyperparameters as keywords → the JAX model."""
    twin: Callable[..., Any]
    """Hyperparameters as keywords → the PyTorch module (imports torch)."""
    torch_layers: Callable[[Config], dict[str, str]]
    """JAX layer name → the PyTorch submodule that computes the same."""


MODELS: dict[str, Model] = {
    "nice": Model(nice.infer_config, nice.params_config, nice.rules, nice.build, nice.twin, nice.torch_layers)
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
    tree = jax.eval_shape(model.build(**config).init, jax.random.key(0))
    return {path: tuple(leaf.shape) for path, leaf in flatten(tree).items()}
