"""Freed memory of computations on the CPU: whether the process keeps it or returns it to the system."""

from __future__ import annotations

import ctypes

# Options of mallopt, from malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> bool:
    """Make the process keep and reuse freed memory, instead of returning it to the system after each call.

    A compiled program allocates the memory for all its intermediate results at once. If that is more than 32 MiB, glibc
    returns it when the call ends, and for the next call the system has to fill new pages with zeros. On two cores of an
    AMD EPYC, this is half of a Glow's training step of 160 ms, and half of a RealNVP's of 490 ms. With kept memory the
    process stays as large as its peak. It becomes larger if blocks of many sizes leave gaps, and occasionally on a busy
    machine; `give_back_freed_memory` returns all of it once. The setting applies to everything that the process
    allocates, including PyTorch's tensors.

    Call this before JAX or PyTorch compute for the first time, because a thread stays with the allocator that it
    started with. Neither the results of XLA nor memory on a GPU are affected.

    Returns:
        Whether the C library accepted the setting, which is False if it is not glibc. This says nothing about another
        malloc that was loaded before it, such as jemalloc by LD_PRELOAD.

    Example:
        >>> import mathdnn_jax as mj
        >>> mj.keep_freed_memory()  # doctest: +SKIP
        True
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    # Large blocks are not mapped separately, nothing is trimmed, and there is one arena, because the heaps of other
    # arenas hold at most 64 MiB.
    return all(
        mallopt(option, value) == 1 for option, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_ARENA_MAX, 1))
    )


def give_back_freed_memory() -> bool:
    """Return all freed memory to the system now, page by page, such as between two tasks of different sizes.

    Kept memory is reused if a block fits. When sizes change, much of it may not fit, and the process grows.

    Returns:
        Whether any memory was returned, which is also False if the C library is not glibc.
    """
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (AttributeError, OSError, TypeError):
        return False
