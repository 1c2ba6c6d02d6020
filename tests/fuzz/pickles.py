"""Pickles that an attacker would write, with every family of instructions, and with claims that exhaust a machine."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

CANARY = "tests.fuzz.canary"
"""A module whose function `sing` records, in `sang`, that it was called."""

Generator = np.random.Generator
PROTO = b"\x80\x02"
TARGETS = (
    (CANARY, "sing"), ("os", "system"), ("posix", "mkdir"), ("builtins", "exec"), ("builtins", "eval"),
    ("builtins", "getattr"), ("builtins", "__import__"), ("subprocess", "Popen"), ("torch", "load"),
    ("torch.hub", "load"), ("numpy", "load"), ("pickle", "loads"), ("operator", "attrgetter"),
    ("torch._utils", "_rebuild_tensor_v2.__globals__"), ("collections", "OrderedDict.__init__"),
    ("torch.serialization", "load"), ("runpy", "run_path"), ("shutil", "rmtree"), ("socket", "socket"),
)  # fmt: skip


def pick(rng: Generator, items: Sequence[Any]) -> Any:
    """Return one of the items."""
    return items[int(rng.integers(len(items)))]


def text(value: str | bytes) -> bytes:
    """Return a BINUNICODE instruction."""
    raw = value.encode() if isinstance(value, str) else value
    return b"X" + struct.pack("<I", len(raw)) + raw


def integer(value: int) -> bytes:
    """Return a BININT or LONG1 instruction."""
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def name(rng: Generator) -> tuple[bytes, bytes]:
    """Return a module and a name in it that do harm when called."""
    module, attribute = pick(rng, TARGETS)
    return module.encode(), attribute.encode()


def tensor(
    key: str, shape: tuple[int, ...], strides: tuple[int, ...], stored: int, offset: int = 0, kind: str = "Float",
    *, legacy: bool = False,
) -> bytes:  # fmt: skip
    """Return the instructions that make one tensor."""
    identity = b"(" + text("storage") + f"ctorch\n{kind}Storage\n".encode() + text(key) + text("cpu") + integer(stored)
    identity += (b"N" if legacy else b"") + b"tQ"
    numbers = b"".join(b"(" + b"".join(map(integer, axes)) + b"t" for axes in (shape, strides))
    hooks = b"\x89ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + identity + integer(offset) + numbers + hooks + b"tR"


def mapping(entries: list[tuple[str, bytes]]) -> bytes:
    """Return a pickle of a mapping from names to what the instructions make."""
    return PROTO + b"}(" + b"".join(text(key) + value for key, value in entries) + b"u."


def _calls(rng: Generator) -> bytes:
    module, attribute = name(rng)
    named = b"c" + module + b"\n" + attribute + b"\n"
    stacked = b"\x8c" + bytes([len(module)]) + module + b"\x8c" + bytes([len(attribute)]) + attribute + b"\x93"
    argument = text("touch /nowhere")
    ways = [
        named + b"(" + argument + b"tR",
        stacked + b"(" + argument + b"tR",
        b"(" + argument + b"i" + module + b"\n" + attribute + b"\n",
        b"(" + named + argument + b"o",
        named + b"(" + argument + b"t\x81",
        named + b"(" + argument + b"t}\x92",
        b"ccollections\nOrderedDict\n)R" + named + b"b",
        b"ctorch._utils\n_rebuild_tensor_v2\n" + named + b"b",
        b"ctorch._utils\n_rebuild_parameter\n(" + named + argument + b"\x89tR",
        b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00",
        b"P" + module + b"." + attribute + b"\n",
        named + b"Q", text("storage") + b"Q", integer(7) + b"Q",
        b"(" + text("module") + named + argument + argument + b"tQ",
        b"\x97", b"\x98", argument + b"\x98", b"\x96" + struct.pack("<Q", 3) + b"abc",
        b"c__builtin__\nset\n)R" + named + b"b",
        b"ctorch\nTensor\n(" + named + b"tR" + named + b"b",
        b"ctorch._tensor\n_rebuild_from_type_v2\n(" + named + b"ctorch\nTensor\n)}tR",
        b"ctorch.serialization\n_get_layout\n(" + argument + b"tR",
    ]  # fmt: skip
    return bytes(pick(rng, ways))


def _bombs(rng: Generator) -> bytes:
    huge = pick(rng, [2**16 + 1, 2**24, 2**31 - 1, 2**32 - 1])
    deep = pick(rng, [10, 1_000, 100_000, 500_000])
    ways = [
        lambda: b"X" + struct.pack("<I", huge) + b"short",
        lambda: b"\x8d" + struct.pack("<Q", 2**62) + b"short",
        lambda: b"\x8e" + struct.pack("<Q", 2**62) + b"short",
        lambda: b"\x96" + struct.pack("<Q", 2**40) + b"short",
        lambda: b"B" + struct.pack("<I", huge) + b"short",
        lambda: b"T" + struct.pack("<i", 2**31 - 1) + b"short",
        lambda: b"\x8b" + struct.pack("<i", 2**31 - 1) + b"\x01",
        lambda: b"\x95" + struct.pack("<Q", 2**63) + b"N",
        lambda: b"\x8a\xff" + b"\x7f" * 255 + b"r" + struct.pack("<I", 2**32 - 1),
        lambda: b"L" + b"9" * deep + b"L\n",
        lambda: b"I" + b"9" * deep + b"\n",
        lambda: b"V" + b"x" * deep + b"\n",
        lambda: b"]" * deep,
        lambda: b"}" * deep,
        lambda: b"(" * deep,
        lambda: b"N" + b"\x85" * deep,
        lambda: b"]" + b"]a" * min(deep, 1000) + b"2" * deep,
        lambda: b"]q\x00" + b"h\x00h\x00\x86q\x00" * min(deep, 100_000),
        lambda: b"}" + b")q\x00" + b"h\x00h\x00\x86q\x00" * 64 + b"Ns",
        lambda: b"}(" + b"".join(integer(k * (2**61 - 1)) + b"N" for k in range(1, 2000)) + b"u",
        lambda: b"}(" + b"".join(integer(k) + b"N" for k in range(min(deep, 20_000))) + b"u",
        lambda: b"N" + b"".join(b"r" + struct.pack("<I", k * 7919 % 2**32) for k in range(min(deep, 50_000))),
        lambda: b"cbuiltins\nbytearray\n(" + integer(2**40) + b"tR",
        lambda: b"ctorch\nFloatStorage\n(" + integer(2**33) + b"tR",
        lambda: b"ctorch\nTensor\n(" + integer(2**33) + b"tR",
        lambda: b"ctorch\nSize\n(" + integer(2**62) + b"tR",
        lambda: b"c" + b"a" * deep + b"\nb\n",
        lambda: b"ccollections\nOrderedDict\n(" + b"]q\x00h\x00a" + b"tR",
        lambda: b"c_codecs\nencode\n(" + text("x" * 100) + text("zip") + b"tR",
        lambda: b"ccollections\nCounter\n(" + text("x" * 1000) + b"tR",
    ]  # fmt: skip
    return bytes(pick(rng, ways)())


def hostile(rng: Generator, *, legacy: bool = False) -> bytes:
    """Return a pickle that tries to run code, to exhaust the machine, or to claim what its storage does not hold."""
    kind = int(rng.integers(4))
    if kind == 0:
        return PROTO + _calls(rng) + b"."
    if kind == 1:
        return PROTO + b"}(" + text("weight") + _calls(rng) + b"u."
    if kind == 2:
        return PROTO + (b"}" + text("w") if rng.integers(2) else b"") + _bombs(rng) + b"."
    return claims(rng, legacy=legacy)


def claims(rng: Generator, *, legacy: bool = False) -> bytes:
    """Return a pickle of tensors with wrong shapes, strides, offsets or storages."""

    def odd() -> int:
        return int(pick(rng, [0, 1, 2, 24, 25, 2**20, 2**31, 2**32, 2**62, 2**63, 2**64, -1, 2**66]))

    def make(
        shape: tuple[int, ...], strides: tuple[int, ...], stored: int = 24, offset: int = 0, key: str = "0"
    ) -> bytes:
        kind = pick(rng, ["Float", "Float", "Float", "Double", "BFloat16", "ComplexDouble", "QInt8", "Byte"])
        return tensor(key, shape, strides, stored, offset, kind, legacy=legacy)

    count = pick(rng, [1, 10, 1000, 20_000])
    ways: list[Callable[[], list[tuple[str, bytes]]]] = [
        lambda: [("x", make((odd(), odd()), (0, 0)))],
        lambda: [("x", make((4, 6), (odd(), odd())))],
        lambda: [("x", make((24,), (1,), stored=odd()))],
        lambda: [("x", make((odd(),), (1,), offset=odd()))],
        lambda: [(f"x{k}", make((24,), (1,))) for k in range(min(count, 3000))],
        lambda: [(f"x{k}", make((2, 24), (0, 1))) for k in range(min(count, 3000))],
        lambda: [("x", make((1,) * count, (1,) * count))],
        lambda: [("x", make((0, *[odd()] * 5), (1,) * 6))],
        lambda: [("x", make((24,), (1, 1)))],
        lambda: [("x", make((24,), (1,), key="../../../etc/passwd"))],
        lambda: [("../../x", make((24,), (1,))), ("/etc/passwd", make((24,), (1,)))],
        lambda: [("n" * count, make((24,), (1,)))],
        lambda: [("x", make((24,), (1,))), ("x", make((23,), (1,)))],
        lambda: [(f"coupling.{10**8}.in_block.0.weight", make((4, 6), (6, 1)))],
    ]
    return mapping(pick(rng, ways)())
