"""The calls that a PyTorch network makes, one by one.

Calls of functions are seen by a `TorchFunctionMode`, those of modules by hooks, so that neither the network nor its
weights are touched. A call is known by the call of the module that it is made in and by its number there, which are the
same in every run of a network in eval mode on the same batch.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch.overrides import TorchFunctionMode

Edit = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
"""What is computed instead of function(*args, **kwargs)."""

QUESTIONS = {
    "__get__", "__set__", "__len__", "dim", "size", "numel", "stride", "is_contiguous", "is_floating_point",
    "_set_grad_enabled",
}  # fmt: skip
"""Calls that ask something of a tensor; neither these nor copies are counted."""
COPIES = {"detach", "clone", "contiguous", "cpu", "resolve_conj", "resolve_neg", "numpy"}
"""Calls that compute nothing, such as those of whoever records a module's arrays; a copy counts as the same tensor."""
UNCOUNTED = QUESTIONS | COPIES


class Seen(NamedTuple):
    """A tensor that a call took or returned; equal keys are the same tensor, unless it was changed in place.

    `maker` is the number of the call that made it; None for a tensor that no call made. `given` says that it is such a
    tensor, and neither a parameter nor a buffer: an input of the network.
    """

    shape: tuple[int, ...]
    floating: bool
    key: Hashable
    maker: int | None
    given: bool


class Call(NamedTuple):
    """One call: of what, with tensors as `Seen`, and in which module, "" being the network itself.

    `number` is that among all calls, and `where` is (the call of its module, its number there).
    """

    number: int
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[Seen, ...]
    where: tuple[str, int]

    @property
    def tensors(self) -> tuple[Seen, ...]:
        """The tensors among the arguments."""
        return tuple(_tensors((self.args, self.kwargs), Seen))

    @property
    def module(self) -> str:
        """The name of the module that it is made in."""
        return self.where[0].partition("#")[0]


class Span(NamedTuple):
    """One call of a module: the numbers of its first call and of the first after it, its inputs and its outputs."""

    first: int
    end: int
    inputs: tuple[Seen, ...]
    outputs: tuple[Seen, ...]


class Recorded(NamedTuple):
    """What a run returned, its calls, and the spans of the modules' calls: `name`, `name#2`, …, "" for the network."""

    result: Any
    calls: list[Call]
    spans: dict[str, Span]


def name_of(function: Any) -> str:
    """Return the bare name of a function: "add" for `torch.add`, `Tensor.add_` and `Tensor.__radd__` alike."""
    name = getattr(function, "__name__", str(function))
    return name if name in QUESTIONS else name.strip("_")


class Modules:
    """Which calls of modules are open; hooks keep it up to date."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self.open: list[str] = []
        self.numbers: list[int] = [0]

    def enter(self, name: str) -> str:
        """Note that a module's call begins, and return the name of the call."""
        self._counts[name] += 1
        count = self._counts[name]
        self.open.append(name if count == 1 else f"{name}#{count}")
        self.numbers.append(0)
        return self.open[-1]

    def leave(self) -> str:
        """Note that the latest call ends, and return its name."""
        self.numbers.pop()
        return self.open.pop()

    def number(self) -> tuple[str, int]:
        """Return the `where` of the next call of a function."""
        self.numbers[-1] += 1
        return (self.open[-1] if self.open else "outside"), self.numbers[-1] - 1


class _Recorder(TorchFunctionMode):
    def __init__(self, own: set[int]) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.modules = Modules()
        self._own = own
        # The number of a tensor may be given to another once the first is gone: the reference tells.
        self._makers: dict[int, tuple[Any, Hashable, int | None]] = {}

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        kwargs = kwargs or {}
        if name_of(function) in QUESTIONS:
            return function(*args, **kwargs)
        if name_of(function) in COPIES:
            return self._copied(args, function(*args, **kwargs))
        where, index = self.modules.number(), len(self.calls)
        seen_args, seen_kwargs = self.seen(args), self.seen(kwargs)
        result = function(*args, **kwargs)
        # An assignment to a part of a tensor returns nothing.
        made = tuple(_tensors(args[0] if name_of(function) == "setitem" else result, torch.Tensor))
        for position, tensor in enumerate(made):
            self._makers[id(tensor)] = (weakref.ref(tensor), (index, position), index)
        outputs = tuple(_tensors(self.seen(made), Seen))
        self.calls.append(Call(index, name_of(function), seen_args, seen_kwargs, outputs, where))
        return result

    def _copied(self, args: tuple[Any, ...], result: Any) -> Any:
        if args and isinstance(args[0], torch.Tensor) and isinstance(result, torch.Tensor):
            self.seen(args[0])
            self._makers[id(result)] = (weakref.ref(result), *self._makers[id(args[0])][1:])
        return result

    def seen(self, value: Any) -> Any:
        """Return the value with every tensor replaced by what is known of it."""
        if isinstance(value, torch.Tensor):
            with torch._C.DisableTorchFunction():
                known = self._makers.get(id(value))
                if known is None or known[0]() is not value:
                    known = (weakref.ref(value), ("given", id(value)), None)
                    self._makers[id(value)] = known
                given = known[2] is None and id(value) not in self._own
                return Seen(tuple(value.shape), value.is_floating_point(), known[1], known[2], given)
        if isinstance(value, Mapping):
            return {name: self.seen(item) for name, item in value.items()}
        if isinstance(value, (tuple, list)):
            return tuple(map(self.seen, value))
        return value


def record(module: torch.nn.Module, run: Callable[[], Any]) -> Recorded:
    """Run, and return the result with every call that was made."""
    recorder = _Recorder({id(tensor) for tensor in [*module.parameters(), *module.buffers()]})
    spans: dict[str, Span] = {}
    starts: list[tuple[int, tuple[Seen, ...]]] = []

    def enter(name: str, args: Any, kwargs: Any) -> None:
        recorder.modules.enter(name)
        starts.append((len(recorder.calls), tuple(_tensors(recorder.seen((args, kwargs)), Seen))))

    def leave(part: Any, args: Any, output: Any) -> None:
        del part, args
        first, inputs = starts.pop()
        outputs = tuple(_tensors(recorder.seen(output), Seen))
        spans[recorder.modules.leave()] = Span(first, len(recorder.calls), inputs, outputs)

    with ExitStack() as hooks:
        for name, part in module.named_modules():
            # Before the hooks of others, whose calls are not the module's own.
            before = part.register_forward_pre_hook(
                lambda _, args, kwargs, name=name: enter(name, args, kwargs), with_kwargs=True, prepend=True
            )
            hooks.callback(before.remove)
            hooks.callback(part.register_forward_hook(leave, prepend=True).remove)
        with recorder:
            result = run()
    return Recorded(result, recorder.calls, spans)


def _tensors(value: Any, kind: Any) -> Iterator[Any]:
    if isinstance(value, kind):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item, kind)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item, kind)


def named(names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return all arguments of a call by their names."""
    return {**dict(zip(names, args, strict=False)), **kwargs}
