"""Every layer's output: of a PyTorch module by forward hooks, of a JAX function by its Linen or NNX modules' calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.extend.core import get_opaque_trace_state

from parity.inference.names import tokens
from parity.nnx_calls import nnx_calls

CHANNELS_FIRST = (
    "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "BatchNorm1d", "BatchNorm2d",
    "BatchNorm3d", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "GroupNorm", "LayerNorm2d",
)  # fmt: skip
CHANNELS_LAST = ("Linear", "LayerNorm", "Embedding", "LSTM", "GRU", "MultiheadAttention")
OUTPUT = "output"


def jax_outputs(apply: Callable[..., Any], order: list[str]) -> Callable[..., dict[str, Any]]:
    """A pure function (variables, x) → {path of a Flax module: its output, …, "output": the function's}.

    `order` is filled with the names in the order of computation when the function is traced; jit returns them sorted.

    Of a module that is called several times the later outputs are `path#2`, `path#3`, …; functions that call no Flax
    modules have the output alone. NNX modules are seen where the variables are NNX state. What a module computes within
    a loop, such as an RNN's cell, is no array of the whole computation and is left out.
    """

    def outputs(variables: Any, x: Any) -> dict[str, Any]:
        values: dict[str, Any] = {}
        outside = get_opaque_trace_state(convention="flax")

        def keep(name: str, result: Any) -> None:
            array = _array(result)
            if name and array is not None and get_opaque_trace_state(convention="flax") == outside:
                values[_again(name, values)] = array

        def record(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
            result = call(*args, **kwargs)
            if context.method_name == "__call__":
                keep("/".join(map(str, context.module.path)), result)
            return result

        with nn.intercept_methods(record), nnx_calls(variables, lambda _, path, result: keep(path, result)):
            values[OUTPUT] = _array(apply(variables, x))
        order[:] = values
        return values

    return outputs


def torch_outputs(module: Any, x: Any) -> dict[str, np.ndarray]:
    """The same of a PyTorch module: {name of a submodule: its output, …, "output": the module's}, in its layout."""
    import torch

    values: dict[str, np.ndarray] = {}

    def recorder(name: str) -> Callable[..., None]:
        def record(submodule: Any, args: Any, output: Any) -> None:
            del submodule, args
            array = _array(output)
            if array is not None:
                # A copy, since what comes next may work in place.
                values[_again(name, values)] = array.detach().clone().numpy()

        return record

    with torch.no_grad():
        handles = [m.register_forward_hook(recorder(name)) for name, m in module.named_modules() if name]
        try:
            result = _array(module(x))
        finally:
            for handle in handles:
                handle.remove()
    assert result is not None
    values[OUTPUT] = result.numpy()
    return values


def in_jax_layout(kind: str, array: np.ndarray, like: np.ndarray) -> np.ndarray | None:
    """A PyTorch layer's output with its channels where JAX has them; None where no layout has JAX's shape.

    A layer that is neither of those with the channels first nor of those with the channels last, such as a block or a
    ReLU, is compared in whichever layout is nearer; that can only pass if one of them agrees.
    """
    layouts = []
    if kind not in CHANNELS_LAST and array.ndim >= 3:
        layouts.append(np.moveaxis(array, 1, -1))
    if kind not in CHANNELS_FIRST or array.ndim < 3:
        layouts.append(array)
    layouts = [layout for layout in layouts if layout.shape == like.shape]
    if not layouts and array.ndim > like.ndim and array.size == like.size:
        # Pooled to one pixel, which JAX may keep no axes for.
        layouts = [array.reshape(like.shape)] if array.shape[:2] == like.shape else []
    return min(layouts, key=lambda layout: float(np.abs(layout - like).sum()), default=None)


def pair_layers(jax_names: Iterable[str], torch_names: Iterable[str], known: Mapping[str, str]) -> dict[str, str]:
    """{JAX layer: PyTorch submodule} in JAX's order: those that the rules pair, and those that are called alike.

    `known` has the rules' pairs. A model of several Flax modules calls each by a path of its own, so that a call is
    also known by the end of its path, where that is the end of one alone.
    """
    names, others = list(jax_names), set(torch_names)
    alike: dict[tuple[str, ...], list[str]] = {}
    for other in others:
        alike.setdefault(tokens(other), []).append(other)
    pairs: dict[str, str] = {}
    left = dict(known)
    for name in sorted(names, key=len, reverse=True):
        layer, mark, count = name.partition("#")
        ends = [path for path in left if path == layer or path.endswith(f"/{layer}")]
        module = left.get(layer) or (left[ends[0]] if len(ends) == 1 else None)
        if module is not None and f"{module}{mark}{count}" in others:
            pairs[name] = f"{module}{mark}{count}"
            left = {path: other for path, other in left.items() if other != module or mark}
        elif module is None and len(found := alike.get(tokens(name), [])) == 1:
            pairs[name] = found[0]
    return {name: pairs[name] for name in names if name in pairs}


def _array(value: Any) -> Any:
    """The array that a layer returns, the first of several."""
    while isinstance(value, (tuple, list)) and value:
        value = value[0]
    return value if hasattr(value, "shape") or isinstance(value, jax.Array) else None


def _again(name: str, values: Mapping[str, Any]) -> str:
    if name not in values:
        return name
    count = 2
    while f"{name}#{count}" in values:
        count += 1
    return f"{name}#{count}"
