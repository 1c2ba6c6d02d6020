"""What the layers of a network take and return: PyTorch's by forward hooks, Flax's by intercepting their calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np
from jax.extend.core import get_opaque_trace_state

from parity.nested import is_array, kind_of_array, leaves, name_of
from parity.nnx_calls import nnx_calls

INPUT, OUTPUT = "input", "output"


class Place(NamedTuple):
    """Where an array was seen: the call of a layer, whether it is an input or an output, and the path among those.

    The first call of a layer has the layer's name, later ones are `name#2`, `name#3`, …; the layer "" is the network
    itself. The path of the only output is "", and those of arguments are their positions and keywords.
    """

    layer: str
    side: str
    path: str = ""

    def __str__(self) -> str:
        """Return the name in a certificate and in a message."""
        if self.side == INPUT:
            return f"the input of {self.layer}" + (f" called {self.path}" if self.path not in ("", "0") else "")
        if not self.layer:
            return name_of(self.path)
        return self.layer + (f"[{self.path.replace('/', '][')}]" if self.path else "")


class Recorder:
    """Collects {place: array} in the order of computation, from the beginning and the end of every call.

    `keep` makes of an array what is kept, None if it is no array of numbers.
    """

    def __init__(self, keep: Callable[[Any], Any]) -> None:
        self.values: dict[Place, Any] = {}
        self._keep = keep
        self._calls: Counter[str] = Counter()
        self._open: list[tuple[str, str | None]] = []

    def enter(self, layer: str, args: Iterable[Any], keywords: Mapping[str, Any]) -> None:
        """Note the arguments of a call that begins."""
        inner = bool(self._open) and self._open[-1][0] == layer
        if not inner:
            self._calls[layer] += 1
        count = self._calls[layer]
        # A method that calls the same method of its base class is one call.
        self._open.append((layer, None if inner else layer if count == 1 else f"{layer}#{count}"))
        self._note(INPUT, {**{str(k): value for k, value in enumerate(args)}, **keywords})

    def leave(self, result: Any) -> None:
        """Note the result of the latest call that has not ended."""
        self._note(OUTPUT, result)
        self._open.pop()

    def _note(self, side: str, value: Any) -> None:
        _, call = self._open[-1]
        if call is None:
            return
        for path, leaf in leaves(value):
            if is_array(leaf) and (array := self._keep(leaf)) is not None:
                self.values[Place(call, side, path)] = array


@contextmanager
def torch_values(module: Any, names: Iterable[str] | None = None) -> Iterator[dict[Place, np.ndarray]]:
    """Record {place: array} of all calls of a PyTorch module's submodules within the context, in their order.

    By default all submodules are watched, but not the module itself, whose name is "".
    """
    recorder = Recorder(torch_array)

    def hooks(name: str) -> tuple[Callable[..., None], Callable[..., None]]:
        return (
            lambda _, args, keywords: recorder.enter(name, args, keywords),
            lambda _, __, output: recorder.leave(output),
        )

    submodules = dict(module.named_modules(remove_duplicate=names is None))
    handles = []
    for name in filter(None, submodules) if names is None else names:
        before, after = hooks(name)
        handles.append(submodules[name].register_forward_pre_hook(before, with_kwargs=True))
        handles.append(submodules[name].register_forward_hook(after))
    try:
        yield recorder.values
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def flax_values(variables: Any = None, scope: str = "") -> Iterator[dict[Place, Any]]:
    """Record {place: array} of all calls of Flax modules within the context, in their order; `scope` goes first.

    Linen modules are seen whatever function calls them, NNX modules if there is NNX state in `variables`. What a module
    computes within a loop, such as an RNN's cell, is not an array of the whole computation and is left out.
    """
    recorder = Recorder(lambda array: array if kind_of_array(array) else None)
    outside = get_opaque_trace_state(convention="flax")

    def watched(path: str) -> bool:
        return bool(path) and get_opaque_trace_state(convention="flax") == outside

    def enter(path: str, args: Iterable[Any], keywords: Mapping[str, Any]) -> None:
        if watched(path):
            recorder.enter(f"{scope}/{path}" if scope else path, args, keywords)

    def leave(path: str, result: Any) -> None:
        if watched(path):
            recorder.leave(result)

    def record(call: Any, args: Any, keywords: Any, context: nn.module.InterceptorContext) -> Any:
        path = "/".join(map(str, context.module.path)) if context.method_name == "__call__" else ""
        enter(path, args, keywords)
        result = call(*args, **keywords)
        leave(path, result)
        return result

    def leave_nnx(_: Any, path: str, result: Any) -> None:
        leave(path, result)

    with nn.intercept_methods(record), nnx_calls(variables, leave_nnx, enter):
        yield recorder.values


@contextmanager
def torch_calls(module: Any, names: Iterable[str] | None = None) -> Iterator[dict[str, np.ndarray]]:
    """Have {name of a call: its output} after the context; of several outputs, later ones are `name[1]`, …."""
    values: dict[str, np.ndarray] = {}
    with torch_values(module, names) as found:
        yield values
    values |= _outputs(found)


@contextmanager
def flax_calls(variables: Any = None, scope: str = "") -> Iterator[dict[str, Any]]:
    """Have {path of a call: its output} after the context; of several outputs, later ones are `path[1]`, …."""
    values: dict[str, Any] = {}
    with flax_values(variables, scope) as found:
        yield values
    values |= _outputs(found)


def _outputs(found: Mapping[Place, Any]) -> dict[str, Any]:
    first: set[str] = set()
    named = {}
    for place, array in found.items():
        if place.side == OUTPUT:
            named[str(place) if place.layer in first else place.layer] = array
            first.add(place.layer)
    return named


def torch_array(value: Any) -> np.ndarray | None:
    """Return a copy of a tensor, since the next layer may work in place, or None if NumPy cannot hold it.

    bfloat16, which NumPy does not have, becomes float32.
    """
    if not hasattr(value, "detach"):
        return None
    try:
        dense = value.detach() if str(value.layout) == "torch.strided" else value.detach().to_dense()
        dense = dense.float() if str(dense.dtype) == "torch.bfloat16" else dense
        array: np.ndarray = dense.cpu().clone().resolve_conj().resolve_neg().numpy()
    except (RuntimeError, TypeError, NotImplementedError):
        return None
    return array
