"""What the instructions of a pickle work on: its bytes, a stack of values, a memo, and the budget that pays for all."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from parity.containers.budget import Budget
from parity.containers.objects import (
    ENTRY_UNITS,
    BadPickleError,
    Foreign,
    Other,
    StorageType,
    call,
    key_of,
    look_up,
)
from parity.display import plain

MAX_TEXT_BYTES = 2**16
"""Maximum length of a text that is kept; of a longer one only the kind is."""
MAX_INTEGER_BYTES = 16
MAX_FOREIGN = 5
"""Maximum number of names that are kept for the message."""


class Stack:
    """A pickle's state while it is read; `position` is the index of the next byte in `data`.

    `foreign` has the names that are not on the list, as messages show them. It `skips` them if only a part of what is
    read is used.
    """

    def __init__(
        self, data: bytes, budget: Budget, persistent: Callable[[Any], Any] | None = None, *, skips: bool = False
    ) -> None:
        self.data = data
        self.position = 0
        self.budget = budget
        self.persistent = persistent
        self.skips = skips
        self.foreign: dict[str, None] = {}
        self.clear()

    def clear(self) -> None:
        """Forget everything but the position, as between two pickles."""
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def skip(self, count: int) -> None:
        """Leave out the next `count` bytes."""
        if count > len(self.data) - self.position:
            raise BadPickleError("it ends too early")
        self.position += count

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        start = self.position
        self.skip(count)
        return self.data[start : self.position]

    def number(self, form: str) -> Any:
        """The next number, in the `struct` format `form`."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def push(self, value: Any) -> None:
        """Push a value onto the stack. The value is made first, because making a tuple changes the stack."""
        self.stack.append(value)

    def text(self, count: int) -> None:
        """Push the next `count` bytes as text."""
        if count > MAX_TEXT_BYTES:
            self.skip(count)
            self.push(Other("str"))
            return
        encoded = self.take(count)
        if not encoded.isascii():
            # In memory, a single character may give all others four bytes each.
            self.budget.pay(count // 8)
        self.push(str(encoded, "utf-8", "surrogatepass"))

    def bytes(self, count: int) -> None:
        """Leave out `count` bytes that may be anything, and push their kind."""
        self.skip(count)
        self.push(Other("bytes"))

    def integer(self, count: int) -> None:
        """Push the next `count` bytes as an integer. Of a very long one only the kind is kept."""
        if count > MAX_INTEGER_BYTES:
            self.skip(count)
            self.push(Other("int"))
        else:
            self.push(int.from_bytes(self.take(count), "little", signed=True))

    def line(self, encoding: str = "utf-8") -> str:
        """The bytes up to the end of the line as text."""
        end = self.data.find(b"\n", self.position, self.position + MAX_TEXT_BYTES)
        if end < 0:
            raise BadPickleError("a line without an end")
        text = str(self.take(end - self.position), encoding)
        self.position = end + 1
        return text

    def decimal(self) -> None:
        """Push an integer or a truth value that is written in decimal digits."""
        digits = self.line().removesuffix("L")
        truth = {"00": False, "01": True}.get(digits)
        self.push(truth if truth is not None else int(digits) if len(digits) < 2 * MAX_INTEGER_BYTES else Other("int"))

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
        if isinstance(target, Other):
            return
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
        self.budget.pay(ENTRY_UNITS * (len(items) // 2))
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[key_of(key)] = value

    def mapping(self, items: list[Any]) -> None:
        """Push a mapping of keys and values."""
        self.push({})
        self.set_items(items)

    def mark(self) -> None:
        """Start a new stack on top of this one."""
        self.below.append(self.stack)
        self.stack = []

    def remember(self, index: int) -> None:
        """Store the value on top of the stack under a number."""
        self.memo[index] = self.stack[-1]

    def name(self, module: Any, attribute: Any) -> Any:
        """What a name of a pickle stands for here."""
        if type(module) is not str or type(attribute) is not str:
            raise BadPickleError("a name that is not a text")
        self.budget.pay((len(module) + len(attribute)) // 16)
        return self.noted(look_up(f"{module}.{attribute}"))

    def noted(self, found: Any) -> Any:
        """The same, after it was noted if it is foreign."""
        if isinstance(found, Foreign) and len(self.foreign) < MAX_FOREIGN:
            self.foreign[plain(found.what)] = None
        return found

    def reduce(self, arguments: Any) -> None:
        """Call the name on top of the stack, if it is on the list."""
        self.stack[-1] = call(self.stack[-1], arguments, self.budget.pay)

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
