"""The versions that a figure or a certificate was made with."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import mathdnn_jax

PACKAGES = ("jax", "jaxlib", "flax", "numpy", "torch")


def versions() -> dict[str, str]:
    """Return the versions of Python, this library and the packages that compute; "not installed" for a missing one."""
    # The library's own version comes from itself, because a clone need not be installed.
    found = {"python": platform.python_version(), "mathdnn_jax": mathdnn_jax.__version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
