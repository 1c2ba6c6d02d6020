"""A pickle machine that knows only plain containers and tensors, and cannot import or call anything.

It supports only the instructions that PyTorch's own restricted reader accepts (pickle protocol 2, as `torch.save`
writes it). Names are looked up in a fixed list of descriptions (`parity.containers.objects`), never in a module.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable
from itertools import islice
from typing import Any

from parity.containers.objects import BadPickleError, Other, RefusedError, StorageType, call, key_of, look_up

MAX_PICKLE_BYTES = 2**25
"""Maximum size of the pickles of one file. A state dict of ten thousand tensors takes two million bytes."""
MAX_INSTRUCTIONS = 400_000
"""Maximum number of instructions in one file's pickles: a tensor takes about 25, so this allows 16,000 tensors."""
MAX_TEXT_BYTES = 2**16
"""Maximum length of a name."""


class Machine:
    """Reads one pickle after another from `data`; `position` is the index of the next byte."""

    def __init__(self, data: bytes, persistent: Callable[[Any], Any] | None = None) -> None:
        self.data = data
        self.position = 0
        self.left = MAX_INSTRUCTIONS
        self.persistent = persistent

    def load(self) -> Any:
        """Read the value of the next pickle.

        Raises:
            RefusedError: It mentions a name that is not on the list.
            BadPickleError: It is damaged, uses another instruction, or exceeds the limits.
        """
        start = self.position
        try:
            return self._run()
        except (BadPickleError, LookupError, TypeError, ValueError, struct.error, OverflowError) as error:
            names = forbidden_names(self.data[start : start + 1_000_000])
            if names:
                raise RefusedError(", ".join(names)) from error
            if isinstance(error, BadPickleError):
                raise
            raise BadPickleError(f"{type(error).__name__} at byte {self.position}") from error

    def _run(self) -> Any:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        while True:
            self.left -= 1
            if self.left < 0:
                raise BadPickleError(f"more than {MAX_INSTRUCTIONS:,} instructions")
            code = self.data[self.position]
            self.position += 1
            if code == _STOP:
                return self.stack.pop()
            _OPERATIONS[code](self)

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        taken = self.data[self.position : self.position + count]
        if len(taken) < count:
            raise BadPickleError("it ends too early")
        self.position += count
        return taken

    def number(self, form: str) -> Any:
        """The next number, in the `struct` format `form`."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self, count: int) -> str:
        """The next `count` bytes as text."""
        if count > MAX_TEXT_BYTES:
            raise BadPickleError(f"a text of {count:,} bytes")
        return str(self.take(count), "utf-8")

    def line(self) -> str:
        """The bytes up to the end of the line as text."""
        end = self.data.find(b"\n", self.position, self.position + MAX_TEXT_BYTES)
        if end < 0:
            raise BadPickleError("a name without an end")
        text = str(self.data[self.position : end], "utf-8")
        self.position = end + 1
        return text

    def push(self, value: Any) -> None:
        """Push a value onto the stack. The value is made first, because making a tuple changes the stack."""
        self.stack.append(value)

    def items(self) -> list[Any]:
        """Take the values that were pushed since the last mark."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def tuple_of(self, count: int) -> None:
        """Combine the last `count` values into a tuple."""
        if len(self.stack) < count:
            raise BadPickleError("an empty stack")
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def append(self, items: list[Any]) -> None:
        """Append `items` to the list on top of the stack."""
        target = self.stack[-1]
        if type(target) is not list:
            raise BadPickleError(f"items for a {type(target).__name__}")
        target.extend(items)

    def set_items(self, items: list[Any]) -> None:
        """Store keys and values in the mapping on top of the stack."""
        target = self.stack[-1]
        if isinstance(target, Other):
            return
        if type(target) is not dict or len(items) % 2:
            raise BadPickleError(f"keys for a {type(target).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[key_of(key)] = value

    def mark(self) -> None:
        """Start a new stack on top of this one."""
        self.below.append(self.stack)
        self.stack = []

    def remember(self, index: int) -> None:
        """Store the value on top of the stack under a number."""
        self.memo[index] = self.stack[-1]

    def reduce(self) -> None:
        """Call a name on the list."""
        arguments = self.stack.pop()
        self.stack[-1] = call(self.stack[-1], arguments)

    def build(self) -> None:
        """Discard attributes, such as the `_metadata` of an ordered mapping."""
        self.stack.pop()
        if not isinstance(self.stack[-1], dict | Other):
            raise BadPickleError(f"attributes for a {type(self.stack[-1]).__name__}")

    def storage(self) -> None:
        """Ask the container for a storage."""
        identity = self.stack.pop()
        if self.persistent is None or type(identity) is not tuple or len(identity) < 5 or identity[0] != "storage":
            raise BadPickleError("a reference to something that is not a storage")
        if type(identity[1]) is not StorageType:
            raise BadPickleError("a storage of an unknown type")
        self.stack.append(self.persistent(identity))


_STOP = ord(".")
_OPERATIONS: dict[int, Callable[[Machine], Any]] = {
    0x80: lambda m: m.take(1),  # PROTO
    ord("("): Machine.mark,
    ord(")"): lambda m: m.push(()),
    ord("]"): lambda m: m.push([]),
    ord("}"): lambda m: m.push({}),
    0x8F: lambda m: m.push(Other("set")),  # EMPTY_SET
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("t"): lambda m: m.push(tuple(m.items())),
    0x85: lambda m: m.tuple_of(1),
    0x86: lambda m: m.tuple_of(2),
    0x87: lambda m: m.tuple_of(3),
    ord("a"): lambda m: m.append([m.stack.pop()]),
    ord("e"): lambda m: m.append(m.items()),
    ord("s"): lambda m: m.set_items([m.stack.pop(-2), m.stack.pop()]),
    ord("u"): lambda m: m.set_items(m.items()),
    ord("q"): lambda m: m.remember(m.take(1)[0]),
    ord("r"): lambda m: m.remember(m.number("<I")),
    ord("h"): lambda m: m.push(m.memo[m.take(1)[0]]),
    ord("j"): lambda m: m.push(m.memo[m.number("<I")]),
    ord("J"): lambda m: m.push(m.number("<i")),
    ord("K"): lambda m: m.push(m.take(1)[0]),
    ord("M"): lambda m: m.push(m.number("<H")),
    ord("G"): lambda m: m.push(m.number(">d")),
    0x8A: lambda m: m.push(int.from_bytes(m.take(m.take(1)[0]), "little", signed=True)),  # LONG1
    ord("X"): lambda m: m.push(m.text(m.number("<I"))),
    ord("U"): lambda m: m.push(m.text(m.take(1)[0])),
    ord("c"): lambda m: m.push(look_up(f"{m.line()}.{m.line()}")),
    ord("R"): Machine.reduce,
    0x81: Machine.reduce,  # NEWOBJ: a class and its arguments
    ord("b"): Machine.build,
    ord("Q"): Machine.storage,
}


def forbidden_names(data: bytes) -> list[str]:
    """The names in the pickle in `data` that are not on the list, found without executing it."""
    names: list[str] = []
    strings: list[str] = []
    try:
        for opcode, argument, _ in islice(pickletools.genops(data), 100_000):
            name = None
            if opcode.name in ("GLOBAL", "INST"):
                name = str(argument).replace(" ", ".")
            elif opcode.name == "STACK_GLOBAL":
                name = ".".join(strings[-2:])
            elif opcode.name in ("EXT1", "EXT2", "EXT4"):
                name = f"extension {argument}"
            elif isinstance(argument, str):
                strings.append(argument)
            if name is not None:
                try:
                    look_up(name)
                except RefusedError:
                    names.append(name[:100])
    except Exception:
        # From here on the bytes are not a pickle, and genops may raise any error.
        return names[:5]
    return names[:5]
