"""What becomes of the memory that a computation on a processor has freed."""

from __future__ import annotations

import ctypes

# Of malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> bool:
    """Have the process keep freed memory and use it again, instead of giving it back to the system after each call.

    A compiled program takes the memory for all its intermediate results at once. Above 32 MiB glibc gives that back
    when the call ends, and the next call has the system fill new pages with zeros: on two cores of an AMD EPYC half of
    a Glow's training step of 160 ms, and of a RealNVP's of 490. Kept, the process stays as large as it was at its
    largest, and becomes larger where blocks of many sizes leave gaps, and now and then on a busy machine;
    `give_back_freed_memory` gives all of it back once. It holds for all that the process allocates, PyTorch's tensors
    too.

    To be called before JAX or PyTorch compute for the first time, since a thread stays with the allocator that it
    began with. What XLA computes, and memory on a GPU, are not touched.

    Returns:
        Whether the C library could be told so: False where it is not glibc. Of another malloc that was loaded before
        it, as jemalloc is by LD_PRELOAD, it says nothing.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    # No mapping of its own for a large block; no trimming; one arena, since the others' heaps hold 64 MiB at most.
    return all(
        mallopt(option, value) == 1 for option, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_ARENA_MAX, 1))
    )


def give_back_freed_memory() -> bool:
    """Give all freed memory back to the system now, as whole pages: between two pieces of work of different sizes.

    Kept memory is used again where a block fits. After a change of sizes much of it may not, and the process grows.

    Returns:
        Whether any was given back: False too where the C library is not glibc.
    """
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (AttributeError, OSError, TypeError):
        return False
