"""Supplying the compiled steps with batches, from arrays on the device or from a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from mathdnn_jax.training.placement import place
from mathdnn_jax.training.program import Carry, Keys, ProgramKey, StepMetrics, indexed_program, streamed_program
from mathdnn_jax.training.stream import Stream, read_batches, to_devices
from mathdnn_jax.training.update import Tree

Feed = Callable[[Carry, int, int], tuple[Carry, dict[str, np.ndarray], np.ndarray]]
"""(carry, start, stop) → (carry, loss and metrics of these steps, whether everything up to each step was finite).

The carry is donated.
"""


def feed(program_key: ProgramKey, data: Tree, key: jax.Array, start: int, stop: int) -> Feed:
    """Return a function that trains on `data`, in memory or a `Stream`, for consecutive steps from start to stop."""
    everywhere = None if program_key.mesh is None else NamedSharding(program_key.mesh, PartitionSpec())
    shuffle_key, step_key = jax.random.split(key)
    keys = place(Keys(jax.random.key_data(shuffle_key), jax.random.key_data(step_key)), everywhere)
    if isinstance(data, Stream):
        return _streamed(
            program_key,
            data,
            keys,
            read_batches(data, program_key.batching, shuffle_key, program_key.mesh, start, stop),
        )
    on_device = jax.tree.map(jnp.asarray, data) if everywhere is None else place(data, everywhere)
    return _indexed(program_key, on_device, keys)


def _indexed(program_key: ProgramKey, data: Tree, keys: Keys) -> Feed:
    program = indexed_program(program_key)

    def run(carry: Carry, start: int, stop: int) -> tuple[Carry, dict[str, np.ndarray], np.ndarray]:
        per_epoch = program_key.batching.per_epoch
        epochs = (stop - 1) // per_epoch - start // per_epoch + 1
        carry, measured = program(carry, data, keys, np.int32(start), length=stop - start, epochs=epochs)
        return carry, *_on_host(measured)

    return run


def _streamed(program_key: ProgramKey, stream: Stream, keys: Keys, batches: Iterator[Tree]) -> Feed:
    program = streamed_program(program_key)

    def run(carry: Carry, start: int, stop: int) -> tuple[Carry, dict[str, np.ndarray], np.ndarray]:
        done: list[tuple[dict[str, np.ndarray], np.ndarray]] = []
        pending: StepMetrics | None = None
        while start < stop:
            count = min(stream.steps, stop - start)
            data = to_devices([next(batches) for _ in range(count)], program_key.batching.size, program_key.mesh)
            carry, measured = program(carry, data, keys, np.int32(start))
            start += count
            # The host reads the previous dispatch's metrics, so that the device is busy with the current one meanwhile.
            if pending is not None:
                done.append(_on_host(pending))
                if not done[-1][1][-1]:
                    break
            pending = measured
        if pending is not None:
            done.append(_on_host(pending))
        values = {name: np.concatenate([part[name] for part, _ in done]) for name in done[0][0]}
        return carry, values, np.concatenate([alive for _, alive in done])

    return run


def _on_host(measured: StepMetrics) -> tuple[dict[str, np.ndarray], np.ndarray]:
    values: Mapping[str, Any] = {"loss": measured.loss, **measured.metrics}
    return {name: np.asarray(value) for name, value in values.items()}, np.asarray(measured.alive)
