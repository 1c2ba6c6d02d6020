"""Observing the calls of NNX modules with Python's profiler, since NNX has no method interceptors as Linen has."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

import jax
from flax import nnx


@contextmanager
def nnx_calls(
    variables: Any,
    note: Callable[[nnx.Module, str, Any], None],
    enter: Callable[[str, tuple[Any, ...], Mapping[str, Any]], None] | None = None,
) -> Iterator[None]:
    """Call note(module, path, result) after every call of an NNX module, if there is NNX state in the variables.

    The path, such as `layers/0`, is the path in the module made by `nnx.merge`, as in the leaves of the state.
    enter(path, arguments, keywords) is called before every call. Calls are observed with `sys.setprofile` in this
    thread while the context is active; a profiler that was in use is restored afterwards.
    """
    if not any(map(_is_state, jax.tree.leaves(variables, is_leaf=_is_state))):
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
        elif enter is not None:
            enter(paths[id(module)], *_arguments(frame))

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        yield
    finally:
        sys.setprofile(before)


def _arguments(frame: FrameType) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the positional and the keyword arguments of a method that begins, without `self`."""
    found = inspect.getargvalues(frame)
    named = frame.f_code.co_argcount
    positional = tuple(found.locals[name] for name in found.args[1:named])
    extra = found.locals[found.varargs] if found.varargs else ()
    keywords = {name: found.locals[name] for name in found.args[named:]}
    return (*positional, *extra), {**keywords, **(found.locals[found.keywords] if found.keywords else {})}


def _is_state(value: Any) -> bool:
    return isinstance(value, nnx.State)
