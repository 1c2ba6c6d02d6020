"""Kept memory, measured by the page faults of a program with large intermediate results, in a fresh process."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys
from pathlib import Path

import pytest

import mathdnn_jax

PROGRAM = """
import resource, sys
import jax, jax.numpy as jnp, mathdnn_jax
print(mathdnn_jax.keep_freed_memory() if sys.argv[1] == "keep" else None)

@jax.jit
def large(x):  # 64 MiB between two products
    return (jnp.sin(x @ x.T) @ x).sum()

x = jnp.full((4096, 8), 0.01)
faults = []
for _ in range(12):  # on a busy machine some calls, up to half of them, still make the heap grow
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    large(x).block_until_ready()
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(min(faults))
"""


RESIDENT = """
import resource
import mathdnn_jax, numpy as np

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20

mathdnn_jax.keep_freed_memory()
block = np.ones(2**25)
last = np.ones(100)  # lies above the block, so that the block is not at the end of the heap
del block
before = resident()
print(mathdnn_jax.memory.give_back_freed_memory(), before - resident())
"""

on_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc gives memory back")


def run(program: str, *arguments: str) -> list[str]:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.split()


@on_glibc
def test_a_second_call_reuses_the_memory_of_the_first() -> None:
    given_back = int(run(PROGRAM, "give back")[1])
    if given_back < 1000:
        pytest.skip("this system hands out large pages, or its malloc was told to keep memory")
    answer, kept = run(PROGRAM, "keep")
    assert answer == "True"
    assert int(kept) < given_back / 20


@on_glibc
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the resident memory is read from there")
def test_kept_memory_can_be_given_back() -> None:
    answer, mebibytes = run(RESIDENT)
    assert answer == "True"
    assert float(mebibytes) > 200


def test_another_malloc_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert mathdnn_jax.keep_freed_memory() is False
    assert mathdnn_jax.memory.give_back_freed_memory() is False
