"""Observing the calls of NNX modules with Python's profiler, since NNX has no method interceptors as Linen has."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from flax import nnx


@contextmanager
def nnx_calls(variables: Any, note: Callable[[nnx.Module, str, Any], None]) -> Iterator[None]:
    """Call note(module, path, result) after every call of an NNX module, if the variables are an NNX state.

    The path, such as `layers/0`, is the path in the module made by `nnx.merge`, as in the leaves of the state. Calls
    are observed with `sys.setprofile` in this thread while the context is active; a profiler that was in use is
    restored afterwards.
    """
    if not isinstance(variables, nnx.State):
        yield
        return
    paths: dict[int, str] = {}
    roots: list[nnx.Module] = []  # kept alive, so that no id is reused

    def learn(root: nnx.Module) -> None:
        roots.append(root)
        for path, module in nnx.iter_modules(root):
            paths[id(module)] = "/".join(map(str, path))

    def watch(frame: FrameType, event: str, result: Any) -> None:
        code = frame.f_code
        if code.co_name == "merge" and event == "return" and isinstance(result, nnx.Module):
            learn(result)
        if code.co_name != "__call__" or event not in ("call", "return") or not code.co_argcount:
            return
        module = frame.f_locals.get(code.co_varnames[0])
        if not isinstance(module, nnx.Module):
            return
        if id(module) not in paths:
            learn(module)
        if event == "return":
            note(module, paths[id(module)], result)

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        yield
    finally:
        sys.setprofile(before)
