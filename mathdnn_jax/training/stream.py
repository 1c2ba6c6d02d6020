"""Data sets too large for the device's memory, read, batched and prefetched with grain."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mathdnn_jax.errors import ConfigurationError, MissingDependencyError
from mathdnn_jax.training.batches import Batching, epoch_rows
from mathdnn_jax.training.program import DATA_AXIS
from mathdnn_jax.training.update import Tree


class Source(Protocol):
    """Indexable examples: a memory-mapped array, any grain data source, or any object with these two methods."""

    def __len__(self) -> int:
        """Number of examples."""

    def __getitem__(self, index: int, /) -> Any:
        """Example `index`, a pytree of arrays or numbers. Several threads may call this at once."""


class Stream(NamedTuple):
    """The result of `stream`: a source, the number of reading threads, batches read ahead, and steps in a dispatch."""

    source: Source
    threads: int
    prefetch: int
    steps: int


def stream(source: Source, *, threads: int = 8, prefetch: int = 16, steps: int = 8) -> Stream:
    """Describe data for `fit` to read while it trains, in the same order and with the same results as data in memory.

    Every process reads only the examples of a batch that are placed on its own devices.

    Args:
        source: The examples; see `Source`.
        threads: Number of batches that are read at the same time.
        prefetch: Number of batches that are kept ready.
        steps: Number of batches that are transferred to the device together and trained on in one dispatch.

    Returns:
        The data argument for `fit`.

    Raises:
        ConfigurationError: A number is below 1, or the source lacks a method.
    """
    given = {"threads": threads, "prefetch": prefetch, "steps": steps}
    wrong = [f"{name}={value}" for name, value in given.items() if value < 1]
    if wrong:
        raise ConfigurationError(f"a stream needs at least one of each, given {', '.join(wrong)}")
    if not hasattr(source, "__len__") or not hasattr(source, "__getitem__"):
        raise ConfigurationError(f"a source must have __len__ and __getitem__, given {type(source).__name__}")
    return Stream(source, threads, prefetch, steps)


def read_batches(
    stream: Stream, batching: Batching, shuffle_key: jax.Array, mesh: Mesh | None, start: int, stop: int
) -> Iterator[Tree]:
    """Read this process's share of the batches of steps start, …, stop − 1: arrays (size of the share, …).

    Raises:
        MissingDependencyError: grain is not installed.
    """
    try:
        import grain
    except ModuleNotFoundError as error:
        if error.name != "grain":
            raise
        raise MissingDependencyError('streamed data needs grain: pip install "mathdnn_jax[stream]"') from error

    rows = _Rows(batching, shuffle_key, mesh, start, stop)
    reading = grain.ReadOptions(num_threads=stream.threads, prefetch_buffer_size=stream.prefetch)
    dataset = grain.MapDataset.source(rows).map(functools.partial(_gather, stream.source))
    return iter(dataset.to_iter_dataset(reading))


def to_devices(parts: list[Tree], size: int, mesh: Mesh | None) -> Tree:
    """Consecutive batches stacked into one tree of arrays (steps, size, …), on the device or spread over the mesh."""
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *parts)
    if mesh is None:
        return stacked
    sharding = NamedSharding(mesh, PartitionSpec(None, DATA_AXIS))
    return jax.tree.map(
        lambda local: jax.make_array_from_process_local_data(
            sharding, local, global_shape=(len(parts), size, *local.shape[2:])
        ),
        stacked,
    )


class _Rows:
    """The indices of the examples that this process reads, step by step."""

    def __init__(self, batching: Batching, shuffle_key: jax.Array, mesh: Mesh | None, start: int, stop: int) -> None:
        self._batching, self._start, self._stop = batching, start, stop
        self._own = np.arange(batching.size) if mesh is None else _own_places(batching.size, mesh)
        # The same function that shuffles data in memory, here on this process's CPU.
        device = jax.local_devices(backend="cpu")[0]
        key = jax.device_put(np.asarray(jax.random.key_data(shuffle_key)), device)
        impl = str(jax.random.key_impl(shuffle_key))
        make = jax.jit(lambda key, epoch: epoch_rows(batching, jax.random.wrap_key_data(key, impl=impl), epoch))

        @functools.lru_cache(maxsize=2)
        def rows(epoch: int) -> np.ndarray:
            return np.asarray(make(key, jax.device_put(np.int32(epoch), device)))

        self._rows, self._lock = rows, threading.Lock()

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, index: int) -> np.ndarray:
        epoch, batch = divmod(self._start + int(index), self._batching.per_epoch)
        with self._lock:
            order = self._rows(epoch)
        return np.asarray(order[batch][self._own])


def _own_places(size: int, mesh: Mesh) -> np.ndarray:
    """The positions of a batch that are placed on devices of this process, in order."""
    sharding = NamedSharding(mesh, PartitionSpec(DATA_AXIS))
    places = np.arange(size)
    return np.unique(
        np.concatenate([places[index] for index in sharding.addressable_devices_indices_map((size,)).values()])
    )


def _gather(source: Source, rows: np.ndarray) -> Tree:
    examples = [source[int(row)] for row in rows]
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *examples)
