"""The compiled part of training: many steps as one program."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mathdnn_jax.training.batches import Batches, batch_mask, epoch_rows
from mathdnn_jax.training.guard import choose
from mathdnn_jax.training.update import Tree, Update

DATA_AXIS = "data"


class Carry(NamedTuple):
    """What a step hands to the next. `alive` is a bool scalar, false from the first step on that was not finite."""

    params: Tree
    ema: Tree
    state: Tree
    optimizer_state: Tree
    alive: jax.Array


class Keys(NamedTuple):
    """Raw key data, which unlike typed keys can be put on the devices of many processes."""

    shuffle: jax.Array
    step: jax.Array


class Told(NamedTuple):
    """What every step tells: the loss, the metrics, and whether it and all before it were finite; each (steps,)."""

    loss: jax.Array
    metrics: dict[str, jax.Array]
    alive: jax.Array


class Recipe(NamedTuple):
    """What a program is compiled from; hashable, so that runs that agree in it share the program.

    `shardings` are the carry's, as (structure, leaves); None without a mesh.
    """

    update: Update
    cut: Batches
    ema_decay: float | None
    key_impl: str
    mesh: Mesh | None
    shardings: tuple[Any, tuple[NamedSharding, ...]] | None


Compiled = Callable[..., tuple[Carry, Told]]


@functools.lru_cache(maxsize=16)
def indexed_program(recipe: Recipe) -> Compiled:
    """`run(carry, data, keys, start, *, length)` does the steps start, …, start + length − 1 of data on the device.

    The carry is donated. The rows of every batch are made before the loop over batches, epoch by epoch.
    """
    cut = recipe.cut

    def run(carry: Carry, data: Tree, keys: Keys, start: jax.Array, *, length: int, epochs: int) -> tuple[Carry, Told]:
        epoch = start // cut.per_epoch
        touched = epoch + jnp.arange(epochs, dtype=jnp.int32)
        key = jax.random.wrap_key_data(keys.shuffle, impl=recipe.key_impl)
        rows = jax.vmap(lambda epoch: epoch_rows(cut, key, epoch))(touched).reshape(-1, cut.size)
        rows = jax.lax.dynamic_slice_in_dim(rows, start - epoch * cut.per_epoch, length)
        rows = _along_data(recipe.mesh, rows, axis=1)

        def step(carry: Carry, now: tuple[jax.Array, jax.Array]) -> tuple[Carry, Told]:
            batch = jax.tree.map(lambda leaf: leaf.at[now[0]].get(mode="promise_in_bounds"), data)
            return _advance(recipe, carry, _along_data(recipe.mesh, batch, axis=0), keys, now[1])

        steps = start + jnp.arange(length, dtype=jnp.int32)
        return _placed(recipe, _loop(step, carry, (rows, steps)))

    return jax.jit(run, static_argnames=("length", "epochs"), donate_argnames="carry")


@functools.lru_cache(maxsize=16)
def streamed_program(recipe: Recipe) -> Compiled:
    """`run(carry, batches, keys, start)` does one step for each of the batches (steps, size, …) that it is given.

    The carry is donated.
    """

    def run(carry: Carry, data: Tree, keys: Keys, start: jax.Array) -> tuple[Carry, Told]:
        def step(carry: Carry, now: tuple[Tree, jax.Array]) -> tuple[Carry, Told]:
            return _advance(recipe, carry, _along_data(recipe.mesh, now[0], axis=0), keys, now[1])

        length = jax.tree.leaves(data)[0].shape[0]
        steps = start + jnp.arange(length, dtype=jnp.int32)
        return _placed(recipe, _loop(step, carry, (data, steps)))

    return jax.jit(run, donate_argnames="carry")


def _loop(step: Callable[[Carry, Any], tuple[Carry, Told]], carry: Carry, each: tuple[Any, jax.Array]) -> Any:
    """`lax.scan`, but that a loop of one step stays a loop: XLA would dissolve it, and fuse and round otherwise."""
    steps = each[1]
    if len(steps) != 1:
        return jax.lax.scan(step, carry, each)
    now = jax.tree.map(lambda leaf: leaf[0], each)
    blank = jax.tree.map(lambda told: jnp.zeros(told.shape, told.dtype), jax.eval_shape(step, carry, now)[1])
    # Steps are counted from zero: it is once, and XLA does not know.
    times = jnp.where(steps[0] >= 0, 1, 0).astype(jnp.int32)
    carry, told = jax.lax.fori_loop(0, times, lambda _, state: step(state[0], now), (carry, blank))
    return carry, jax.tree.map(lambda leaf: leaf[None], told)


def _advance(recipe: Recipe, carry: Carry, batch: Tree, keys: Keys, step: jax.Array) -> tuple[Carry, Told]:
    key = jax.random.fold_in(jax.random.wrap_key_data(keys.step, impl=recipe.key_impl), step)
    mask = batch_mask(recipe.cut, step)
    arguments = carry.params, carry.optimizer_state, carry.state, batch, key, mask
    guards = recipe.update.guards
    stepped = recipe.update.step(*arguments, **({"alive": carry.alive} if guards else {}))
    alive = carry.alive & stepped.finite & jnp.isfinite(stepped.loss)
    new = stepped.params, stepped.optimizer_state, stepped.state
    if not guards:
        new = choose(alive, new, arguments[:3])
    params, optimizer_state, state = new
    ema = carry.ema
    if recipe.ema_decay is not None:
        average = jax.tree.map(lambda old, new: _average(recipe.ema_decay, old, new), ema, params)
        ema = choose(alive, average, ema)
    return Carry(params, ema, state, optimizer_state, alive), Told(stepped.loss, stepped.metrics, alive)


def _average(decay: float | None, old: jax.Array, new: jax.Array) -> jax.Array:
    weight = jnp.asarray(decay, old.dtype)
    return weight * old + (1 - weight) * new


def _along_data(mesh: Mesh | None, tree: Tree, axis: int) -> Tree:
    if mesh is None:
        return tree
    sharding = NamedSharding(mesh, PartitionSpec(*(None,) * axis, DATA_AXIS))
    return jax.lax.with_sharding_constraint(tree, sharding)


def _placed(recipe: Recipe, result: tuple[Carry, Told]) -> tuple[Carry, Told]:
    """The result where the arguments were, so that donated memory can be used again."""
    if recipe.mesh is None or recipe.shardings is None:
        return result
    carry, told = result
    structure, leaves = recipe.shardings
    constrain: Callable[[Tree, Tree], Tree] = jax.lax.with_sharding_constraint
    everywhere = NamedSharding(recipe.mesh, PartitionSpec())
    placed = constrain(carry, jax.tree_util.tree_unflatten(structure, leaves))
    return placed, constrain(told, everywhere)
