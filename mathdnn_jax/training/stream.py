"""Data that is too large for the device: read, batched and prefetched by grain."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mathdnn_jax.errors import ConfigurationError, MissingDependencyError
from mathdnn_jax.training.batches import Batches, epoch_rows
from mathdnn_jax.training.program import DATA_AXIS
from mathdnn_jax.training.update import Tree


class Source(Protocol):
    """Examples by number: a memory-mapped array, any of grain's data sources, or two methods of one's own."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, index: int, /) -> Any:
        """Example `index`, a pytree of arrays or numbers; called by several threads at once."""


class Stream(NamedTuple):
    """What `stream` returns: a source, how many threads read it, batches read ahead, steps that a dispatch has."""

    source: Source
    threads: int
    prefetch: int
    steps: int


def stream(source: Source, *, threads: int = 8, prefetch: int = 16, steps: int = 8) -> Stream:
    """Data for `fit` that is read while it trains, in the order, and with the results, of the same data in memory.

    Every process reads only those examples of a batch that lie on its own devices.

    Args:
        source: the examples by number.
        threads: how many batches are being read at once.
        prefetch: how many batches are held ready.
        steps: how many batches go to the device together, and are trained on by one dispatch.

    Raises:
        ConfigurationError: a number below 1, or no source.
    """
    given = {"threads": threads, "prefetch": prefetch, "steps": steps}
    wrong = [f"{name}={value}" for name, value in given.items() if value < 1]
    if wrong:
        raise ConfigurationError(f"a stream needs at least one of each, given {', '.join(wrong)}")
    if not hasattr(source, "__len__") or not hasattr(source, "__getitem__"):
        raise ConfigurationError(f"a source has __len__ and __getitem__, given {type(source).__name__}")
    return Stream(source, threads, prefetch, steps)


def read_batches(
    stream: Stream, cut: Batches, shuffle_key: jax.Array, mesh: Mesh | None, start: int, stop: int
) -> Iterator[Tree]:
    """The part of this process in the batches of steps start, …, stop − 1: arrays (its share of the batch, …).

    Raises:
        MissingDependencyError: grain is not installed.
    """
    try:
        import grain
    except ModuleNotFoundError as error:
        if error.name != "grain":
            raise
        raise MissingDependencyError('streamed data needs grain: pip install "mathdnn_jax[stream]"') from error

    rows = _Rows(cut, shuffle_key, mesh, start, stop)
    reading = grain.ReadOptions(num_threads=stream.threads, prefetch_buffer_size=stream.prefetch)
    dataset = grain.MapDataset.source(rows).map(functools.partial(_gather, stream.source))
    return iter(dataset.to_iter_dataset(reading))


def to_devices(parts: list[Tree], size: int, mesh: Mesh | None) -> Tree:
    """Consecutive batches as one tree of (steps, size, …), on the device or spread over the mesh."""
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
    """The numbers of the examples that this process reads, step by step."""

    def __init__(self, cut: Batches, shuffle_key: jax.Array, mesh: Mesh | None, start: int, stop: int) -> None:
        self._cut, self._start, self._stop = cut, start, stop
        self._own = np.arange(cut.size) if mesh is None else _own_places(cut.size, mesh)
        # The very program that shuffles data in memory, on a processor of this process.
        device = jax.local_devices(backend="cpu")[0]
        key = jax.device_put(np.asarray(jax.random.key_data(shuffle_key)), device)
        impl = str(jax.random.key_impl(shuffle_key))
        make = jax.jit(lambda key, epoch: epoch_rows(cut, jax.random.wrap_key_data(key, impl=impl), epoch))

        @functools.lru_cache(maxsize=2)
        def rows(epoch: int) -> np.ndarray:
            return np.asarray(make(key, jax.device_put(np.int32(epoch), device)))

        self._rows, self._lock = rows, threading.Lock()

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, index: int) -> np.ndarray:
        epoch, batch = divmod(self._start + int(index), self._cut.per_epoch)
        with self._lock:
            order = self._rows(epoch)
        return np.asarray(order[batch][self._own])


def _own_places(size: int, mesh: Mesh) -> np.ndarray:
    """The places of a batch that lie on devices of this process, in order."""
    sharding = NamedSharding(mesh, PartitionSpec(DATA_AXIS))
    places = np.arange(size)
    return np.unique(
        np.concatenate([places[index] for index in sharding.addressable_devices_indices_map((size,)).values()])
    )


def _gather(source: Source, rows: np.ndarray) -> Tree:
    examples = [source[int(row)] for row in rows]
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *examples)
