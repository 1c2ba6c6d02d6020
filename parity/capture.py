"""The outputs of submodules: PyTorch's by forward hooks, Flax's by intercepting the calls of its modules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.extend.core import get_opaque_trace_state

from parity.nnx_calls import nnx_calls

OUTPUT = "output"
"""The name of a whole network's output among those of its layers."""


@contextmanager
def torch_calls(module: Any, names: Iterable[str] | None = None) -> Iterator[dict[str, np.ndarray]]:
    """Record {name of a submodule: its output} of all calls within the context, in their order.

    By default all submodules are watched, but not the module itself, whose name is "". If a submodule is called
    several times, its later outputs are `name#2`, `name#3`, ….
    """
    values: dict[str, np.ndarray] = {}

    def recorder(name: str) -> Callable[..., None]:
        def record(submodule: Any, args: Any, output: Any) -> None:
            del submodule, args
            array = first_array(output)
            if array is not None:
                # A copy, since the next layer may work in place.
                values[_unused(name, values)] = array.detach().clone().numpy()

        return record

    watched = [name for name, _ in module.named_modules() if name] if names is None else list(names)
    handles = [module.get_submodule(name).register_forward_hook(recorder(name)) for name in watched]
    try:
        yield values
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def flax_calls(variables: Any = None, scope: str = "") -> Iterator[dict[str, Any]]:
    """Record {path of a Flax module: its output} of all calls within the context, in their order; `scope` goes first.

    Linen modules are seen whatever function calls them, NNX modules if `variables` are NNX state. If a module is called
    several times, its later outputs are `path#2`, `path#3`, …. What a module computes within a loop, such as an RNN's
    cell, is not an array of the whole computation and is left out.
    """
    values: dict[str, Any] = {}
    outside = get_opaque_trace_state(convention="flax")

    def keep(path: str, result: Any) -> None:
        array = first_array(result)
        if path and array is not None and get_opaque_trace_state(convention="flax") == outside:
            values[_unused(f"{scope}/{path}" if scope else path, values)] = array

    def record(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        result = call(*args, **kwargs)
        if context.method_name == "__call__":
            keep("/".join(map(str, context.module.path)), result)
        return result

    with nn.intercept_methods(record), nnx_calls(variables, lambda _, path, result: keep(path, result)):
        yield values


def first_array(value: Any) -> Any:
    """Return the array that a layer returns, the first one if it returns several, or None."""
    while isinstance(value, (tuple, list)) and value:
        value = value[0]
    return value if hasattr(value, "shape") or isinstance(value, jax.Array) else None


def _unused(name: str, values: Mapping[str, Any]) -> str:
    if name not in values:
        return name
    count = 2
    while f"{name}#{count}" in values:
        count += 1
    return f"{name}#{count}"
