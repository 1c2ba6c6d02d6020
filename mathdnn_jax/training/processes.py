"""Training with several processes, on one machine or on many."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager

import jax
import numpy as np
from jax.experimental import multihost_utils

from mathdnn_jax.errors import ConfigurationError, OutputError, ProcessesError
from mathdnn_jax.training.meeting import meet, parse_address

COORDINATOR, PROCESSES, PROCESS_ID = "MATHDNN_COORDINATOR", "MATHDNN_PROCESSES", "MATHDNN_PROCESS_ID"
TIMEOUT = 300.0
"""The seconds for which processes wait for each other."""


def join_processes(
    coordinator: str | None = None,
    processes: int | None = None,
    process_id: int | None = None,
    timeout: float = TIMEOUT,
) -> bool:
    """Join this process with others that train together, through JAX's distributed runtime.

    Call this before anything else uses JAX. Every process then runs the same program, and `device_mesh` spans the
    devices of all of them. JAX's preemption service, which would swallow SIGTERM, is switched off.

    Args:
        coordinator: HOST:PORT of process 0; by default the value of MATHDNN_COORDINATOR.
        processes: Number of processes; by default the value of MATHDNN_PROCESSES.
        process_id: Index of this process, from 0; by default the value of MATHDNN_PROCESS_ID.
        timeout: The seconds for which the processes wait for each other.

    Returns:
        True once the processes are joined; False, without any effect, if neither arguments nor environment variables
        are given.

    Raises:
        ConfigurationError: Only some of the three are given, or they are invalid.
        ProcessesError: The coordinator cannot be reached or is another program, or not all processes came in time.
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
    if not 0 < timeout < math.inf:
        raise ConfigurationError(f"processes wait for each other for a positive number of seconds, given {timeout}")
    address = str(known[COORDINATOR])
    parse_address(address)
    meet(address, count, own, timeout)
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(address, count, own, initialization_timeout=max(math.ceil(timeout), 10))
    except (RuntimeError, ValueError) as error:
        raise ProcessesError(f"process {own} of {count} cannot join at {address}: {error}") from error
    return True


def agreed(flag: bool) -> bool:
    """Whether the flag is set in any process; all of them ask at the same point of the run."""
    if jax.process_count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))


@contextmanager
def lost_processes_named() -> Iterator[None]:
    """Name the errors by which JAX's runtime reports that another process was lost.

    Raises:
        ProcessesError: It has reported one.
    """
    try:
        yield
    except (jax.errors.JaxRuntimeError, OutputError) as error:
        if jax.process_count() == 1 or not _from_runtime(error):
            raise
        raise ProcessesError(
            f"process {jax.process_index()} cannot go on, most likely because another process was lost: "
            f"{str(error).splitlines()[0][:300]}. Start all of them again, and resume from the last checkpoint"
        ) from error


def _from_runtime(error: BaseException | None) -> bool:
    """Whether JAX's runtime raised the error, or that which caused it."""
    while error is not None and not isinstance(error, jax.errors.JaxRuntimeError):
        error = error.__cause__
    return error is not None
