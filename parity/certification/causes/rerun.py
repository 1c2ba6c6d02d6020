"""The run of a PyTorch network with some of its calls changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch.overrides import TorchFunctionMode

from parity.certification.causes.tape import UNCOUNTED, Edit, Modules, name_of


class Plan(NamedTuple):
    """What is changed in a run.

    Calls by their `where`; by the name of a module's call its first input, before anyone sees it, and its output, after
    everyone has seen what the module itself returned; `skipped` modules return their input and are not seen.
    """

    calls: Mapping[tuple[str, int], Edit]
    inputs: Mapping[str, Callable[[Any], Any]]
    outputs: Mapping[str, Callable[[Any], Any]]
    skipped: frozenset[str]


class _Editor(TorchFunctionMode):
    def __init__(self, edits: Mapping[tuple[str, int], Edit]) -> None:
        super().__init__()
        self.modules = Modules()
        self._edits = edits

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        kwargs = kwargs or {}
        edit = None if name_of(function) in UNCOUNTED else self._edits.get(self.modules.number())
        if edit is None:
            return function(*args, **kwargs)
        result = edit(function, args, kwargs)
        # Whoever works in place may look at the tensor and not at what was returned.
        return args[0].copy_(result) if _in_place(function, kwargs) and result.shape == args[0].shape else result


def rerun(module: torch.nn.Module, run: Callable[[], Any], plan: Plan) -> Any:
    """Run with the plan's changes, and return the result; afterwards the module is what it was."""
    editor = _Editor(plan.calls)

    def enter(part: Any, name: str, args: Any, kwargs: Any) -> Any:
        change = plan.inputs.get(call := editor.modules.enter(name))
        if (late := plan.outputs.get(call)) is not None:
            # Registered now and so the last.
            hooks.callback(part.register_forward_hook(_once(late)).remove)
        if change is None:
            return args, kwargs
        old, new = args[0], change(args[0])
        # The query is often the key and the value too.
        return tuple(new if arg is old else arg for arg in args), kwargs

    def leave(part: Any, args: Any, output: Any) -> None:
        del part, args, output
        editor.modules.leave()

    hooks = ExitStack()
    with hooks:
        for name, part in module.named_modules():
            if name in plan.skipped:
                hooks.enter_context(_skipped(part))
            before = part.register_forward_pre_hook(
                lambda part, args, kwargs, name=name: enter(part, name, args, kwargs), with_kwargs=True, prepend=True
            )
            hooks.callback(before.remove)
            hooks.callback(part.register_forward_hook(leave, prepend=True).remove)
        with editor:
            return run()


def _once(change: Callable[[Any], Any]) -> Callable[..., Any]:
    """Return a hook that changes the next output, and no later one."""
    done: list[bool] = []

    def hook(part: Any, args: Any, output: Any) -> Any:
        del part, args
        if done:
            return None
        done.append(True)
        return change(output)

    return hook


@contextmanager
def _skipped(part: Any) -> Iterator[None]:
    part.__dict__["_call_impl"] = lambda x, *_, **__: x
    try:
        yield
    finally:
        del part.__dict__["_call_impl"]


def really(part: Any, x: Any) -> Any:
    """Call a module although a plan skips it; its hooks see the call."""
    return type(part)._call_impl(part, x)


def _in_place(function: Any, kwargs: Mapping[str, Any]) -> bool:
    name = getattr(function, "__name__", "")
    return bool(kwargs.get("inplace")) or (name.endswith("_") and not name.endswith("__"))
