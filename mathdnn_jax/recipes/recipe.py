"""What a recipe is: a model with its loss, its data, and what is measured of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np

from mathdnn_jax.training.update import Loss, Tree

Value = str | int | float | bool | list[int]
"""What a setting may be: whatever TOML has for it."""
Settings = Mapping[str, Any]
"""Names to `Value`s, all of a recipe's, checked by `resolve`."""

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Sets(NamedTuple):
    """The examples of a run, each a pytree of arrays with one common length, or None.

    - `training`: what is trained on; `validation`: what was held out of the training set; `test`;
    - `outliers`: of another kind, for tasks that tell them apart;
    - `image_shape`: (H, W), or (H, W, 3); () for numbers.
    """

    training: Tree
    validation: Tree
    test: Tree
    outliers: Tree
    image_shape: tuple[int, ...]


class Task(NamedTuple):
    """A model as pure functions, to be trained by `fit`. `state` is None for models without mutable state.

    - `init(key, batch) -> (params, state)`, where a model may look at a first batch, None where there is none;
    - `loss`: as `fit` takes it, a dict for players that alternate;
    - `validate(params, state, examples) -> figures`, with "validation_loss", after every epoch; None where no number
      tells how good the model is;
    - `evaluate(params, state, sets) -> figures`: the final evaluation;
    - `sample(params, state, key, count, temperature) -> np.ndarray`: images (count, *image_shape) with values about
      [0, 1], or numbers (count,); None for models that draw nothing;
    - `reconstruct(params, state, images) -> np.ndarray` of the same shape, where there is such a thing;
    - `curve(params, x) -> (p(x), z(x))`, each (N,), for a flow on the line;
    - `variables(params, state) -> tree` and `restore(tree) -> (params, state)`: the model as a file holds it;
    - `torch`: which parts of that tree (the empty name: all of it) a PyTorch model of `parity` is known for, by name.
    """

    init: Callable[[jax.Array, Tree], tuple[Tree, Tree]]
    loss: Loss | Mapping[str, Loss]
    evaluate: Callable[[Tree, Tree, Sets], dict[str, float]]
    validate: Callable[[Tree, Tree, Tree], dict[str, float]] | None = None
    sample: Callable[[Tree, Tree, jax.Array, int, float], np.ndarray] | None = None
    reconstruct: Callable[[Tree, Tree, np.ndarray], np.ndarray] | None = None
    curve: Callable[[Tree, np.ndarray], tuple[np.ndarray, np.ndarray]] | None = None
    variables: Callable[[Tree, Tree], Tree] = lambda params, _: params
    restore: Callable[[Tree], tuple[Tree, Tree]] = lambda tree: (tree, None)
    torch: Mapping[str, str] = NOTHING


class Recipe(NamedTuple):
    """How models of one family are trained.

    - `defaults`: its settings, beside those that all recipes have, or instead of their defaults;
    - `load(settings) -> Sets`;
    - `build(settings, image_shape) -> Task`;
    - `choices`: the values that a setting may have, for those that are a choice;
    - `by_data`: defaults that go with a data set: {setting: {data set: value}}.
    """

    defaults: Mapping[str, Value]
    load: Callable[[Settings], Sets]
    build: Callable[[Settings, tuple[int, ...]], Task]
    choices: Mapping[str, tuple[str, ...]] = NOTHING
    by_data: Mapping[str, Mapping[str, Value]] = NOTHING
