"""The compiled part of training: many steps in one program."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mathdnn_jax.training.batches import Batching, batch_mask, epoch_rows
from mathdnn_jax.training.guard import choose
from mathdnn_jax.training.update import Tree, Update

DATA_AXIS = "data"


class Carry(NamedTuple):
    """What one step passes to the next. The bool scalar `alive` is False from the first step that was not finite."""

    params: Tree
    ema: Tree
    state: Tree
    optimizer_state: Tree
    alive: jax.Array


class Keys(NamedTuple):
    """Raw key data, which unlike typed keys can be placed on the devices of many processes."""

    shuffle: jax.Array
    step: jax.Array


class StepMetrics(NamedTuple):
    """The loss and metrics of every step, and whether it and all previous steps were finite; each (steps,)."""

    loss: jax.Array
    metrics: dict[str, jax.Array]
    alive: jax.Array


class ProgramKey(NamedTuple):
    """Everything that a compiled program depends on. It is hashable, so that runs with equal keys share the program.

    `shardings` holds the carry's shardings as (structure, leaves); None without a mesh.
    """

    update: Update
    batching: Batching
    ema_decay: float | None
    key_impl: str
    mesh: Mesh | None
    shardings: tuple[Any, tuple[NamedSharding, ...]] | None


Compiled = Callable[..., tuple[Carry, StepMetrics]]


@functools.lru_cache(maxsize=16)
def indexed_program(program_key: ProgramKey) -> Compiled:
    """`run(carry, data, keys, start, *, length, epochs)` trains for the steps start, …, start + length − 1.

    `data` is on the device, and the steps touch `epochs` epochs. The carry is donated. The rows of all batches are
    computed before the loop over the batches, epoch by epoch.
    """
    batching = program_key.batching

    def run(
        carry: Carry, data: Tree, keys: Keys, start: jax.Array, *, length: int, epochs: int
    ) -> tuple[Carry, StepMetrics]:
        epoch = start // batching.per_epoch
        touched = epoch + jnp.arange(epochs, dtype=jnp.int32)
        key = jax.random.wrap_key_data(keys.shuffle, impl=program_key.key_impl)
        rows = jax.vmap(lambda epoch: epoch_rows(batching, key, epoch))(touched).reshape(-1, batching.size)
        rows = jax.lax.dynamic_slice_in_dim(rows, start - epoch * batching.per_epoch, length)
        rows = _along_data(program_key.mesh, rows, axis=1)

        def step(carry: Carry, now: tuple[jax.Array, jax.Array]) -> tuple[Carry, StepMetrics]:
            batch = jax.tree.map(lambda leaf: leaf.at[now[0]].get(mode="promise_in_bounds"), data)
            return _advance(program_key, carry, _along_data(program_key.mesh, batch, axis=0), keys, now[1])

        steps = start + jnp.arange(length, dtype=jnp.int32)
        return _placed(program_key, _loop(step, carry, (rows, steps)))

    return jax.jit(run, static_argnames=("length", "epochs"), donate_argnames="carry")


@functools.lru_cache(maxsize=16)
def streamed_program(program_key: ProgramKey) -> Compiled:
    """`run(carry, batches, keys, start)` trains for one step on each of the batches, stacked as (steps, size, …).

    The carry is donated.
    """

    def run(carry: Carry, data: Tree, keys: Keys, start: jax.Array) -> tuple[Carry, StepMetrics]:
        def step(carry: Carry, now: tuple[Tree, jax.Array]) -> tuple[Carry, StepMetrics]:
            return _advance(program_key, carry, _along_data(program_key.mesh, now[0], axis=0), keys, now[1])

        length = jax.tree.leaves(data)[0].shape[0]
        steps = start + jnp.arange(length, dtype=jnp.int32)
        return _placed(program_key, _loop(step, carry, (data, steps)))

    return jax.jit(run, donate_argnames="carry")


def _loop(step: Callable[[Carry, Any], tuple[Carry, StepMetrics]], carry: Carry, each: tuple[Any, jax.Array]) -> Any:
    """`lax.scan`, but a loop of one step remains a loop: XLA would unroll it, and fuse and round differently."""
    steps = each[1]
    if len(steps) != 1:
        return jax.lax.scan(step, carry, each)
    now = jax.tree.map(lambda leaf: leaf[0], each)
    blank = jax.tree.map(
        lambda measured: jnp.zeros(measured.shape, measured.dtype), jax.eval_shape(step, carry, now)[1]
    )
    # Steps are never negative, so the loop runs once; XLA cannot know that.
    times = jnp.where(steps[0] >= 0, 1, 0).astype(jnp.int32)
    carry, measured = jax.lax.fori_loop(0, times, lambda _, state: step(state[0], now), (carry, blank))
    return carry, jax.tree.map(lambda leaf: leaf[None], measured)


def _advance(
    program_key: ProgramKey, carry: Carry, batch: Tree, keys: Keys, step: jax.Array
) -> tuple[Carry, StepMetrics]:
    key = jax.random.fold_in(jax.random.wrap_key_data(keys.step, impl=program_key.key_impl), step)
    mask = batch_mask(program_key.batching, step)
    arguments = carry.params, carry.optimizer_state, carry.state, batch, key, mask
    guards = program_key.update.guards
    stepped = program_key.update.step(*arguments, **({"alive": carry.alive} if guards else {}))
    alive = carry.alive & stepped.finite & jnp.isfinite(stepped.loss)
    new = stepped.params, stepped.optimizer_state, stepped.state
    if not guards:
        new = choose(alive, new, arguments[:3])
    params, optimizer_state, state = new
    ema = carry.ema
    if program_key.ema_decay is not None:
        average = jax.tree.map(lambda old, new: _average(program_key.ema_decay, old, new), ema, params)
        ema = choose(alive, average, ema)
    return Carry(params, ema, state, optimizer_state, alive), StepMetrics(stepped.loss, stepped.metrics, alive)


def _average(decay: float | None, old: jax.Array, new: jax.Array) -> jax.Array:
    weight = jnp.asarray(decay, old.dtype)
    return weight * old + (1 - weight) * new


def _along_data(mesh: Mesh | None, tree: Tree, axis: int) -> Tree:
    if mesh is None:
        return tree
    sharding = NamedSharding(mesh, PartitionSpec(*(None,) * axis, DATA_AXIS))
    return jax.lax.with_sharding_constraint(tree, sharding)


def _placed(program_key: ProgramKey, result: tuple[Carry, StepMetrics]) -> tuple[Carry, StepMetrics]:
    """The result with the sharding of the arguments, so that donated memory can be reused."""
    if program_key.mesh is None or program_key.shardings is None:
        return result
    carry, measured = result
    structure, leaves = program_key.shardings
    constrain: Callable[[Tree, Tree], Tree] = jax.lax.with_sharding_constraint
    everywhere = NamedSharding(program_key.mesh, PartitionSpec())
    placed = constrain(carry, jax.tree_util.tree_unflatten(structure, leaves))
    return placed, constrain(measured, everywhere)
