"""The public names: those of the root, of its rooms and of `parity`, with what they stand for."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

import mathdnn_jax

# `plots` needs matplotlib and `errors` holds nothing but exceptions: their names are not functions that newcomers call.
ROOMS = (
    "mathdnn_jax.bijectors",
    "mathdnn_jax.claims",
    "mathdnn_jax.data",
    "mathdnn_jax.flows",
    "mathdnn_jax.generative",
    "mathdnn_jax.nets",
    "mathdnn_jax.probability",
    "mathdnn_jax.recipes",
    "mathdnn_jax.surgery",
    "mathdnn_jax.tasks",
    "mathdnn_jax.testing",
    "mathdnn_jax.training",
    "parity",
)


def public_objects() -> dict[str, Any]:
    """Functions and classes by where a user finds them, such as `mathdnn_jax.bijectors.split`."""
    found = {
        f"{room}.{name}": getattr(import_module(room), name) for room in ROOMS for name in import_module(room).__all__
    }
    found |= {f"mathdnn_jax.{name}": getattr(mathdnn_jax, name) for name in mathdnn_jax.__all__}
    return {name: thing for name, thing in found.items() if inspect.isfunction(thing) or inspect.isclass(thing)}
