"""Training as a recipe's settings say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from mathdnn_jax.recipes.recipe import Sets, Settings, Task
from mathdnn_jax.training import Checkpoints, EpochReport, FitResult, fit
from mathdnn_jax.training.update import Tree


def train(
    task: Task,
    settings: Settings,
    sets: Sets,
    *,
    mesh: Mesh | None = None,
    checkpoints: Checkpoints | None = None,
    callback: Callable[[EpochReport], bool | None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> FitResult:
    """Train as the settings say; `settings["seed"]` determines the initial parameters and the order of the examples.

    Besides the last checkpoints, the one with the least validation loss is kept. Without a validation set, it is the
    one with the least loss, if there is only one loss.

    Returns:
        What `fit` returns.

    Raises:
        MathdnnError: as in `fit`.
    """
    init_key, fit_key = jax.random.split(jax.random.key(settings["seed"]))
    rows = slice(settings["batch_size"])
    params, state = jax.jit(task.init)(init_key, jax.tree.map(lambda leaf: leaf[rows], sets.training))
    if checkpoints is not None:
        checkpoints = checkpoints._replace(best=_best(task, sets))
    return fit(
        task.loss,
        params,
        sets.training,
        _optimizers(task, settings, count(sets.training)),
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        key=fit_key,
        state=state,
        remainder=settings["remainder"],
        clip_norm=settings["clip_norm"] or None,
        ema_decay=settings["ema_decay"] or None,
        compute_dtype=jnp.bfloat16 if settings["precision"] == "bfloat16" else None,
        mesh=mesh,
        evaluate=_validation(task, sets),
        callback=callback,
        checkpoints=checkpoints,
        stop=stop,
    )


def trained(result: FitResult) -> tuple[Tree, Tree]:
    """Copy a trained model to the host.

    Returns:
        (params, state) as NumPy arrays, where the parameters are the averaged ones if there are any.
    """
    params = result.params if result.ema is None else result.ema
    return to_host(params), to_host(result.state)


def to_host(tree: Tree) -> Tree:
    """Convert the leaves to NumPy arrays, with which a single process can compute."""
    return jax.tree.map(np.asarray, tree)


def count(examples: Tree) -> int:
    """The number of examples; 0 for None."""
    return len(jax.tree.leaves(examples)[0]) if examples is not None else 0


def steps_per_epoch(settings: Settings, examples: int) -> int:
    """The number of batches in an epoch."""
    size: int = settings["batch_size"]
    return examples // size if settings["remainder"] == "drop" else -(-examples // size)


def _optimizers(task: Task, settings: Settings, examples: int) -> Any:
    rate: Any = settings["learning_rate"]
    if settings["schedule"] == "cosine":
        steps = settings["epochs"] * steps_per_epoch(settings, examples)
        rate = optax.cosine_decay_schedule(rate, max(steps, 1))
    adam = optax.adam(rate, b1=settings["b1"], b2=settings["b2"], eps=settings["eps"])
    return dict.fromkeys(task.loss, adam) if isinstance(task.loss, Mapping) else adam


def _best(task: Task, sets: Sets) -> str | None:
    if task.validate is not None and sets.validation is not None:
        return "validation_loss"
    return None if isinstance(task.loss, Mapping) else "loss"


def _validation(task: Task, sets: Sets) -> Callable[[Tree, Tree], dict[str, float]] | None:
    validate = task.validate
    tests = task.tests_each_epoch
    if validate is None or (sets.validation is None and not tests):
        return None

    def report(params: Tree, state: Tree) -> dict[str, float]:
        params, state = to_host(params), to_host(state)
        metrics = {} if sets.validation is None else validate(params, state, sets.validation)
        return metrics | ({"test_loss": validate(params, state, sets.test)["validation_loss"]} if tests else {})

    return report
