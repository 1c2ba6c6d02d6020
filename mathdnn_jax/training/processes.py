"""Training with several processes, on one machine or on many."""

from __future__ import annotations

import os

import jax

from mathdnn_jax.errors import ConfigurationError

COORDINATOR, PROCESSES, PROCESS_ID = "MATHDNN_COORDINATOR", "MATHDNN_PROCESSES", "MATHDNN_PROCESS_ID"


def join_processes(coordinator: str | None = None, processes: int | None = None, process_id: int | None = None) -> bool:
    """Join this process with others that train together, through JAX's distributed runtime.

    Call this before anything else uses JAX. Every process then runs the same program, and `device_mesh` spans the
    devices of all of them.

    Args:
        coordinator: HOST:PORT of process 0; by default the value of MATHDNN_COORDINATOR.
        processes: Number of processes; by default the value of MATHDNN_PROCESSES.
        process_id: Index of this process, from 0; by default the value of MATHDNN_PROCESS_ID.

    Returns:
        True once the processes are joined; False, without any effect, if neither arguments nor environment variables
        are given.

    Raises:
        ConfigurationError: Only some of the three are given, they are invalid, or the coordinator cannot be reached.
    """
    known = {
        COORDINATOR: coordinator or os.environ.get(COORDINATOR),
        PROCESSES: os.environ.get(PROCESSES) if processes is None else processes,
        PROCESS_ID: os.environ.get(PROCESS_ID) if process_id is None else process_id,
    }
    missing = [name for name, value in known.items() if value is None]
    if len(missing) == len(known):
        return False
    if missing:
        raise ConfigurationError(
            f"several processes need a coordinator, a count and an id each; there is no {', '.join(missing)}"
        )
    try:
        count, own = int(str(known[PROCESSES])), int(str(known[PROCESS_ID]))
    except ValueError as error:
        raise ConfigurationError(f"the count and the id of processes must be whole numbers: {error}") from error
    if count < 1 or not 0 <= own < count:
        raise ConfigurationError(f"processes are numbered from 0 to one below their count, given {own} of {count}")
    try:
        jax.distributed.initialize(str(known[COORDINATOR]), count, own)
    except (RuntimeError, ValueError) as error:
        raise ConfigurationError(f"process {own} of {count} cannot join at {known[COORDINATOR]}: {error}") from error
    return True
