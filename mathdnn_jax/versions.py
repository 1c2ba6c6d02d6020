"""What a figure or a certificate was made with."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import mathdnn_jax

PACKAGES = ("jax", "jaxlib", "flax", "numpy", "torch")


def versions() -> dict[str, str]:
    """The versions of Python, of this library and of the packages that compute; "not installed" for an absent one."""
    # The library's own comes from itself: a clone need not be installed.
    found = {"python": platform.python_version(), "mathdnn_jax": mathdnn_jax.__version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
