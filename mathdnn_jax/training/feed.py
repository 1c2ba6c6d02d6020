"""How batches get to the compiled steps: from arrays on the device, or from a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from mathdnn_jax.training.placement import place
from mathdnn_jax.training.program import Carry, Keys, Recipe, Told, indexed_program, streamed_program
from mathdnn_jax.training.stream import Stream, read_batches, to_devices
from mathdnn_jax.training.update import Tree

Feed = Callable[[Carry, int, int], tuple[Carry, dict[str, np.ndarray], np.ndarray]]
"""(carry, start, stop) → (carry, loss and metrics of those steps, whether all was finite up to each); donates."""


def feed(recipe: Recipe, data: Tree, key: jax.Array, start: int, stop: int) -> Feed:
    """What does the steps of `data`, in memory or a `Stream`; to be called for consecutive steps from start to stop."""
    everywhere = None if recipe.mesh is None else NamedSharding(recipe.mesh, PartitionSpec())
    shuffle_key, step_key = jax.random.split(key)
    keys = place(Keys(jax.random.key_data(shuffle_key), jax.random.key_data(step_key)), everywhere)
    if isinstance(data, Stream):
        return _streamed(recipe, data, keys, read_batches(data, recipe.cut, shuffle_key, recipe.mesh, start, stop))
    on_device = jax.tree.map(jnp.asarray, data) if everywhere is None else place(data, everywhere)
    return _indexed(recipe, on_device, keys)


def _indexed(recipe: Recipe, data: Tree, keys: Keys) -> Feed:
    program = indexed_program(recipe)

    def run(carry: Carry, start: int, stop: int) -> tuple[Carry, dict[str, np.ndarray], np.ndarray]:
        per_epoch = recipe.cut.per_epoch
        touched = (stop - 1) // per_epoch - start // per_epoch + 1
        carry, told = program(carry, data, keys, np.int32(start), length=stop - start, epochs=touched)
        return carry, *_on_host(told)

    return run


def _streamed(recipe: Recipe, stream: Stream, keys: Keys, batches: Iterator[Tree]) -> Feed:
    program = streamed_program(recipe)

    def run(carry: Carry, start: int, stop: int) -> tuple[Carry, dict[str, np.ndarray], np.ndarray]:
        done: list[tuple[dict[str, np.ndarray], np.ndarray]] = []
        under_way: Told | None = None
        while start < stop:
            count = min(stream.steps, stop - start)
            data = to_devices([next(batches) for _ in range(count)], recipe.cut.size, recipe.mesh)
            carry, told = program(carry, data, keys, np.int32(start))
            start += count
            # One behind, so that the device is at work while the host reads what the steps before have told.
            if under_way is not None:
                done.append(_on_host(under_way))
                if not done[-1][1][-1]:
                    break
            under_way = told
        if under_way is not None:
            done.append(_on_host(under_way))
        values = {name: np.concatenate([part[name] for part, _ in done]) for name in done[0][0]}
        return carry, values, np.concatenate([alive for _, alive in done])

    return run


def _on_host(told: Told) -> tuple[dict[str, np.ndarray], np.ndarray]:
    values: Mapping[str, Any] = {"loss": told.loss, **told.metrics}
    return {name: np.asarray(value) for name, value in values.items()}, np.asarray(told.alive)
