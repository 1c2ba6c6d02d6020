"""Recipes and tasks: a family of models with its settings and data, and one model with its loss and its metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np

from mathdnn_jax.training.update import Loss, Tree

Value = str | int | float | bool | list[int]
"""The value of a setting, as TOML represents it."""
Settings = Mapping[str, Any]
"""The `Value`s of all settings of a recipe by name, checked by `resolve`."""

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Sets(NamedTuple):
    """The data sets of a run, each a pytree of arrays of equal length, or None.

    - `training` and `test`; `validation`, which is held out of the training set;
    - `outliers`: examples of another kind, for tasks that detect them;
    - `image_shape`: (H, W), or (H, W, 3); () for numbers.
    """

    training: Tree
    validation: Tree
    test: Tree
    outliers: Tree
    image_shape: tuple[int, ...]


class Task(NamedTuple):
    """A model as pure functions, to be trained by `fit`. `state` is None for models without mutable state.

    - `init(key, batch) -> (params, state)`; a model may initialise itself from a first batch, which is None if there is
      none;
    - `loss`: as in `fit`, a dict for players that alternate;
    - `validate(params, state, examples) -> metrics`, including "validation_loss", after every epoch; None if no single
      number says how good the model is;
    - `evaluate(params, state, sets) -> metrics`: the final evaluation;
    - `sample(params, state, key, count, temperature) -> np.ndarray`: images (count, *image_shape) with values about
      [0, 1], or numbers (count,); None for models that cannot be sampled;
    - `reconstruct(params, state, images) -> np.ndarray` of the same shape; None for models that do not reconstruct;
    - `curve(params, x) -> (p(x), z(x))`, each (N,), for a flow on the real line; None for other models;
    - `tests_each_epoch`: whether the loss on the test set, "test_loss", is reported after every epoch too. It decides
      nothing: the best checkpoint is not chosen by it;
    - `variables(params, state) -> tree` and `restore(tree) -> (params, state)`: conversion to and from the tree that is
      saved to a file;
    - `loss_unit`: the unit of the losses, for the axis of a picture;
    - `torch`: the parts of that tree that have a PyTorch counterpart in `parity`, with the counterpart's name; the
      empty key stands for the whole tree.
    """

    init: Callable[[jax.Array, Tree], tuple[Tree, Tree]]
    loss: Loss | Mapping[str, Loss]
    evaluate: Callable[[Tree, Tree, Sets], dict[str, float]]
    validate: Callable[[Tree, Tree, Tree], dict[str, float]] | None = None
    sample: Callable[[Tree, Tree, jax.Array, int, float], np.ndarray] | None = None
    reconstruct: Callable[[Tree, Tree, np.ndarray], np.ndarray] | None = None
    curve: Callable[[Tree, np.ndarray], tuple[np.ndarray, np.ndarray]] | None = None
    tests_each_epoch: bool = False
    variables: Callable[[Tree, Tree], Tree] = lambda params, _: params
    restore: Callable[[Tree], tuple[Tree, Tree]] = lambda tree: (tree, None)
    torch: Mapping[str, str] = NOTHING
    loss_unit: str = "nats"


class Recipe(NamedTuple):
    """How the models of one family are trained.

    - `defaults`: the settings of this family, in addition to the common settings or with other defaults;
    - `load(settings) -> Sets`;
    - `build(settings, image_shape) -> Task`;
    - `choices`: the allowed values of settings that are a choice;
    - `by_data`: defaults that depend on the data set, {setting: {data set: value}}.
    """

    defaults: Mapping[str, Value]
    load: Callable[[Settings], Sets]
    build: Callable[[Settings, tuple[int, ...]], Task]
    choices: Mapping[str, tuple[str, ...]] = NOTHING
    by_data: Mapping[str, Mapping[str, Value]] = NOTHING
