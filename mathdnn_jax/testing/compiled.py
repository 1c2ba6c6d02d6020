"""Functions that are compiled once for each kind of arguments, and never again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax


class Compiled:
    """A function of arrays, compiled fast rather than well, because it is called only a few dozen times, on one event.

    What is compiled is kept here and not in JAX's caches, which the checker clears for maps that close over NumPy
    arrays, see `precision`.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        hasty = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
        self._jitted = jax.jit(function, compiler_options=hasty if jax.default_backend() == "cpu" else None)
        self._programs: dict[Any, Any] = {}

    def __call__(self, *arguments: Any) -> Any:
        """Call the function. The first time with arguments of their shapes and dtypes, it is compiled."""
        leaves, structure = jax.tree.flatten(arguments)
        kind = structure, tuple(map(_kind, leaves))
        if kind not in self._programs:
            self._programs[kind] = self._jitted.lower(*arguments).compile()
        return self._programs[kind](*arguments)

    def trace(self, *arguments: Any) -> Any:
        """Trace the function, as a jitted one is traced."""
        return self._jitted.trace(*arguments)


def _kind(leaf: Any) -> tuple[Any, ...]:
    """What a program depends on: shape and dtype of an array, and the type of a number."""
    dtype = getattr(leaf, "dtype", type(leaf))
    return dtype, getattr(leaf, "shape", ()), getattr(leaf, "weak_type", False)
