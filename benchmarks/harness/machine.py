"""A description of the machine, the versions and the settings that figures were measured with."""

from __future__ import annotations

import datetime as dt
import os
import platform
from pathlib import Path
from typing import Any

from benchmarks.frameworks import on_jax
from mathdnn_jax.versions import versions

VARIABLES = (
    "JAX_PLATFORMS",
    "XLA_FLAGS",
    "JAX_COMPILATION_CACHE_DIR",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "GLIBC_TUNABLES",
    "LD_PRELOAD",
    "MALLOC_ARENA_MAX",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
)
"""Environment variables that influence the figures; those that are set are reported."""


def describe_machine() -> dict[str, Any]:
    """Return processor, operating system, cores, JAX's backend, versions, settings and the time, ready for JSON."""
    return {
        "cpu": _cpu(),
        "os": platform.platform(),
        "cores": os.cpu_count(),
        "backend": on_jax.backend(),
        "device": on_jax.device_kind(),
        "versions": versions(),
        "environment": {name: _setting(name) for name in VARIABLES if name in os.environ},
        "measured": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }


def _setting(name: str) -> str:
    """Return the value of a variable; a folder is only said to be set, since its path is this machine's affair."""
    return "set" if name.endswith("_DIR") else os.environ[name]


def _cpu() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
