"""The instructions of pickles of all protocols that hold data, with what each takes from the budget.

Left out are those that refer to objects outside the file: persistent names in text, and buffers beside the pickle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from parity.containers.objects import Foreign, Other, call
from parity.containers.stack import Stack

STOP = ord(".")
INSTRUCTIONS: dict[int, Callable[[Stack], Any]] = {
    0x80: lambda s: s.skip(1),  # PROTO
    0x95: lambda s: s.skip(8),  # FRAME: the lengths of frames only help readers of streams
    ord("("): Stack.mark,
    ord("0"): lambda s: s.stack.pop() if s.stack else s.items(),
    ord("1"): Stack.items,
    ord("2"): lambda s: s.push(s.stack[-1]),
    ord("N"): lambda s: s.push(None),
    0x88: lambda s: s.push(True),
    0x89: lambda s: s.push(False),
    # Numbers.
    ord("J"): lambda s: s.push(s.number("<i")),
    ord("K"): lambda s: s.push(s.take(1)[0]),
    ord("M"): lambda s: s.push(s.number("<H")),
    ord("G"): lambda s: s.push(s.number(">d")),
    ord("F"): lambda s: s.push(float(s.line())),
    ord("I"): Stack.decimal,
    ord("L"): Stack.decimal,
    0x8A: lambda s: s.integer(s.take(1)[0]),  # LONG1
    0x8B: lambda s: s.integer(s.number("<I")),  # LONG4
    # Texts and bytes.
    ord("X"): lambda s: s.text(s.number("<I")),
    0x8C: lambda s: s.text(s.take(1)[0]),  # SHORT_BINUNICODE
    0x8D: lambda s: s.text(s.number("<Q")),  # BINUNICODE8
    ord("V"): lambda s: s.push(s.line("raw_unicode_escape")),
    ord("U"): lambda s: s.text(s.take(1)[0]),
    ord("T"): lambda s: s.text(s.number("<I")),
    ord("S"): lambda s: _quoted(s, s.line()),
    ord("C"): lambda s: s.bytes(s.take(1)[0]),
    ord("B"): lambda s: s.bytes(s.number("<I")),
    0x8E: lambda s: s.bytes(s.number("<Q")),  # BINBYTES8
    0x96: lambda s: s.bytes(s.number("<Q")),  # BYTEARRAY8
    # Containers.
    ord(")"): lambda s: s.push(()),
    ord("t"): lambda s: s.push(tuple(s.items())),
    0x85: lambda s: s.tuple_of(1),
    0x86: lambda s: s.tuple_of(2),
    0x87: lambda s: s.tuple_of(3),
    ord("]"): lambda s: s.push([]),
    ord("l"): lambda s: s.push(s.items()),
    ord("a"): lambda s: s.append([s.stack.pop()]),
    ord("e"): lambda s: s.append(s.items()),
    ord("}"): lambda s: s.push({}),
    ord("d"): lambda s: s.mapping(s.items()),
    ord("s"): lambda s: s.set_items([s.stack.pop(-2), s.stack.pop()]),
    ord("u"): lambda s: s.set_items(s.items()),
    0x8F: lambda s: s.push(Other("set")),  # EMPTY_SET
    0x90: lambda s: s.append(s.items()),  # ADDITEMS
    0x91: lambda s: _frozen(s, s.items()),  # FROZENSET
    # The memo.
    ord("q"): lambda s: s.remember(s.take(1)[0]),
    ord("r"): lambda s: s.remember(s.number("<I")),
    ord("p"): lambda s: s.remember(int(s.line()[:20])),
    0x94: lambda s: s.remember(len(s.memo)),  # MEMOIZE
    ord("h"): lambda s: s.push(s.memo[s.take(1)[0]]),
    ord("j"): lambda s: s.push(s.memo[s.number("<I")]),
    ord("g"): lambda s: s.push(s.memo[int(s.line()[:20])]),
    # Names, and their calls: NEWOBJ is a class and its arguments, NEWOBJ_EX has named arguments too.
    ord("c"): lambda s: s.push(s.name(s.line(), s.line())),
    0x93: lambda s: s.push(s.name(s.stack.pop(-2), s.stack.pop())),  # STACK_GLOBAL
    0x82: lambda s: s.push(s.noted(Foreign(f"extension {s.take(1)[0]}"))),
    0x83: lambda s: s.push(s.noted(Foreign(f"extension {s.number('<H')}"))),
    0x84: lambda s: s.push(s.noted(Foreign(f"extension {s.number('<i')}"))),
    ord("R"): lambda s: s.reduce(s.stack.pop()),
    0x81: lambda s: s.reduce(s.stack.pop()),
    0x92: lambda s: _named(s, s.stack.pop()),
    ord("i"): lambda s: s.push(call(s.name(s.line(), s.line()), tuple(s.items()), s.budget.pay)),
    ord("o"): lambda s: _instance(s, s.items()),
    ord("b"): Stack.build,
    ord("Q"): Stack.storage,
}
"""What each instruction does, by its byte."""

_UNITS = {
    2: (ord("("), ord("]"), ord("}"), ord("t"), 0x85, 0x86, 0x87, 0x8F, 0x91, ord("X"), 0x8C, 0x8D, ord("U"), ord("V"),
        ord("q"), ord("r"), ord("p"), 0x94),
    4: (ord("S"), ord("T"), ord("F"), ord("I"), ord("L"), ord("g"), ord("d"), ord("l"), ord("C"), ord("B"), 0x8A, 0x8B,
        0x8E, 0x96, ord("c"), ord("i"), ord("o"), 0x82, 0x83, 0x84, 0x93, ord("Q"), ord("R"), 0x81, 0x92),
}  # fmt: skip
UNITS = [1] * 256
"""What each instruction takes from the budget, by its byte. What it does to many values is paid besides."""
for _units, _codes in _UNITS.items():
    for _code in _codes:
        UNITS[_code] = _units


def _instance(stack: Stack, items: list[Any]) -> None:
    stack.push(call(items[0], tuple(items[1:]), stack.budget.pay))


def _quoted(stack: Stack, _line: str) -> None:
    # In quotes and with escapes, as Python 2 wrote bytes.
    stack.push(Other("str"))


def _frozen(stack: Stack, _items: list[Any]) -> None:
    stack.push(Other("frozenset"))


def _named(stack: Stack, _arguments: Any) -> None:
    stack.reduce(stack.stack.pop())
