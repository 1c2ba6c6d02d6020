"""Files that ask for far more work than they have bytes, by every instruction and structure that a reader repeats.

Each kind is a function of a generator and a count, and returns the instructions of a pickle. `CONTAINERS` does the same
for whole files.
"""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from collections.abc import Callable

import numpy as np

from .mutations import LEGACY_HEAD, SpoiltFile, rezip
from .pickles import integer, mapping, pick, tensor, text

Generator = np.random.Generator
MOST = 150_000
"""The largest count. The largest files have about a million bytes."""
LIMIT = 8
"""The factor by which the count of the first file of each kind is larger, beyond what any reader may take."""
SIZE = b"ctorch\nSize\nq\xf0"
ORDERED = b"ccollections\nOrderedDict\nq\xf1"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\nq\xf2"
PARAMETER = b"ctorch._utils\n_rebuild_parameter\nq\xf3"
FOREIGN = b"cargparse\nNamespace\nq\xf4"
STORAGE = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + integer(24) + b"tQq\xf5"
PAIRS = b"]q\x01(" + b"X\x01\0\0\0aN\x86" * 1000 + b"e"


def _numbers(count: int, end: bytes) -> bytes:
    return b"(" + b"K\x01" * count + end


def _named(count: int, value: bytes) -> bytes:
    return b"}(" + b"".join(text(f"{k:x}") + value for k in range(count)) + b"u"


def _repeated(first: bytes, step: bytes) -> Callable[[Generator, int], bytes]:
    return lambda rng, n: first + step * n


def _beside_long_names(rng: Generator, n: int) -> bytes:
    inner = b"}(" + text("weights") + _named(3, _tensor()) + text("more") + b"}" + b"u"
    many = b"".join(text(f"{k:x}") + b"N" for k in range(n))
    return b"}" + text("x" * 60_000) + inner[:-1] + many + b"us"


def _tensor(shape: bytes = b"K\x18\x85", strides: bytes = b"K\x01\x85") -> bytes:
    return b"h\xf2(h\xf5K\0" + shape + strides + b"\x89NtR"


TENSORS = REBUILD + b"0" + STORAGE + b"0"
KINDS: dict[str, Callable[[Generator, int], bytes]] = {
    "lists": _repeated(b"", b"]"),
    "mappings": _repeated(b"", b"}"),
    "marks": _repeated(b"", b"("),
    "frames": _repeated(b"N", b"\x95" + bytes(8)),
    "tuples": _repeated(b"N", b"\x85"),
    "doubled tuples": _repeated(b")q\0", b"h\0h\0\x86q\0"),
    "doubled tuples as keys": lambda rng, n: b"}" + b")q\0" + b"h\0h\0\x86q\0" * min(n, 100) + b"Ns",
    "duplicates": _repeated(b"]", b"2"),
    "memo": _repeated(b"N", b"\x94"),
    "memo far away": lambda rng, n: b"N" + b"".join(b"r" + struct.pack("<I", k * 7919 % 2**32) for k in range(n)),
    "integers": _repeated(b"", b"J\xff\xff\xff\x7f"),
    "long integers": _repeated(b"", b"\x8b\xff\0\0\0" + b"\x7f" * 255),
    "one long integer": lambda rng, n: b"\x8b" + struct.pack("<I", n) + b"\x7f" * n,
    "decimals": lambda rng, n: b"L" + b"9" * (n // 2) + b"L\n" + (b"I" + b"7" * 60_000 + b"\n") * 5,
    "texts": lambda rng, n: b"".join(text("\N{GRINNING FACE}" + "x" * 60_000) for _ in range(1 + n // 10_000)),
    "one text": lambda rng, n: b"\x8d" + struct.pack("<Q", 4 + n) + "\N{GRINNING FACE}".encode() + b"x" * n,
    "bytes": lambda rng, n: b"\x96" + struct.pack("<Q", n) + bytes(n) + b"0" + b"C\xff" + bytes(255),
    "sets": _repeated(b"\x8f", b"(K\x01K\x02\x90(K\x01K\x02\x910"),
    "items again and again": lambda rng, n: _numbers(1000, b"l") + b"q\0" + b"](" + b"h\0" * n + b"e",
    "a size of a list": lambda rng, n: _numbers(n, b"l") + b"q\0" + SIZE + b"h\0\x85q\1" + b"h\xf0h\1R" * (n // 4),
    "a size of a tuple": lambda rng, n: _numbers(n, b"t") + b"q\0" + SIZE + b"h\0\x85q\1" + b"h\xf0h\1R" * (n // 4),
    "ordered mappings of pairs": lambda rng, n: PAIRS + ORDERED + b"h\1\x85q\2" + b"h\xf1h\2R" * (n // 4),
    "empty ordered mappings": lambda rng, n: ORDERED + b"h\xf1)R" * n,
    "many arguments": lambda rng, n: _numbers(n, b"t") + b"q\0" + PARAMETER + b"h\xf3h\0R" * (n // 4),
    "arguments of tensors": lambda rng, n: (
        TENSORS + _tensor() + b"q\2" + PARAMETER + b"(h\2" + b"N" * n + b"tq\3" + b"h\xf3h\3R" * (n // 4)
    ),
    "shapes": lambda rng, n: TENSORS + _numbers(n, b"t") + b"q\0" + _tensor(b"h\0", b"h\0") * (n // 12),
    "huge shapes": lambda rng, n: (
        TENSORS + b"(" + (b"\x8a\x10" + b"\x7f" * 16) * 32 + b"tq\0" + _named(n // 20, _tensor(b"h\0", b"h\0"))
    ),
    "one tensor under many names": lambda rng, n: TENSORS + _tensor() + b"q\0" + _named(n // 6, b"h\0"),
    "many tensors": lambda rng, n: TENSORS + _named(n // 15, _tensor()),
    "no tensors": lambda rng, n: _named(n // 5, b"N"),
    "mappings of mappings": lambda rng, n: (
        TENSORS
        + _named(2, _tensor())
        + b"q\0"
        + b"".join(_named(n // 20, b"h\0") + b"q\0" for _ in range(3))
    ),
    "many candidates": lambda rng, n: TENSORS + _named(n // 30, b"}" + text("w" * 100) + _tensor() + b"s"),
    "long names around": lambda rng, n: TENSORS + _beside_long_names(rng, n // 8),
    "a mapping in itself": lambda rng, n: b"}q\0(" + b"".join(text(f"{k:x}") + b"h\0" for k in range(n // 6)) + b"u",
    "names": lambda rng, n: (b"c" + b"a" * 60_000 + b"\nb\n") * (1 + n // 10_000),
    "stacked names": lambda rng, n: text("a" * 60_000) + b"q\0" + b"h\0h\0\x93" * (n // 4),
    "foreign calls": lambda rng, n: _numbers(n, b"t") + b"q\0" + FOREIGN + b"h\xf4h\0R" * (n // 4),
    "foreign attributes": lambda rng, n: FOREIGN + b"h\xf4)\x81}b" * (n // 5),
    "extensions": _repeated(b"", b"\x82\x01"),
    "equal keys": lambda rng, n: b"}(" + b"".join(integer(k << 12) + b"N" for k in range(min(n // 6, 2**18))) + b"u",
}  # fmt: skip


def _spread(rng: Generator, n: int) -> bytes:
    """Many tensors of two entries each, which lie as far apart as the file allows."""
    size = 250_000
    views = [(f"{k:x}", tensor("0", (2,), (size - 1,), size)) for k in range(n // 100)]
    return rezip([("a/data.pkl", mapping(views)), ("a/data/0", bytes(4 * size))])


def _overlapping(rng: Generator, n: int) -> bytes:
    """A tensor whose axes step over each other, and transposed ones."""
    size = max(1000, n)
    axis = int(size**0.5) - 1
    step = pick(rng, [1, 2, size // (2 * axis)])
    views = [("x", tensor("0", (axis, axis), (step, step), size)), ("y", tensor("0", (axis, axis), (1, axis), size))]
    return rezip([("a/data.pkl", mapping(views[: int(rng.integers(1, 3))])), ("a/data/0", bytes(4 * size))])


def _many_records(rng: Generator, n: int) -> bytes:
    name = "x" * int(pick(rng, [1, 1, 200]))
    empty = [(f"a/data/{name}{k:x}", b"") for k in range(n // 20)]
    return rezip([("a/data.pkl", b"\x80\x02}."), *empty])


def _same_record(rng: Generator, n: int) -> bytes:
    """Many entries in the list of records that stand for one and the same record."""
    content = rezip([("a/data.pkl", bytes(n)), ("a/data/0", b"")])
    start = content.index(b"PK\x01\x02")
    end = content.index(b"PK\x05\x06")
    (entry,) = [content[start : content.index(b"PK\x01\x02", start + 4)]]
    count = min(n // 10, 60_000)
    listed = b"".join(entry[:-8] + b"%08x" % k for k in range(count)) if rng.integers(2) else entry * count
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(listed), start, 0)
    return content[:start] + listed + (tail if rng.integers(4) else content[end:])


def _deflated(rng: Generator, n: int) -> bytes:
    inside = [("a/data.pkl", b"\x80\x02}."), ("a/version", bytes(10 * n)), ("a/.data/serialization_id", bytes(10 * n))]
    return rezip(inside, zipfile.ZIP_DEFLATED)


def _legacy_keys(rng: Generator, n: int) -> bytes:
    keys = b"\x80\x02](" + (text("0") if rng.integers(2) else b"K\x01") * (n // 2) + b"e."
    return LEGACY_HEAD + mapping([("x", tensor("0", (24,), (1,), 24, legacy=True))]) + keys + bytes(100)


def _header(text_of: Callable[[Generator, int], str]) -> Callable[[Generator, int], bytes]:
    def made(rng: Generator, n: int) -> bytes:
        raw = text_of(rng, n).encode()
        return struct.pack("<Q", len(raw)) + raw

    return made


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


EMPTY = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
CONTAINERS: dict[str, tuple[str, Callable[[Generator, int], bytes]]] = {
    "spread": (".pt", _spread),
    "overlapping": (".pt", _overlapping),
    "many records": (".pt", _many_records),
    "one record many times": (".pt", _same_record),
    "deflated": (".pt", _deflated),
    "legacy keys": (".pt", _legacy_keys),
    "pickles one after another": (".pt", lambda rng, n: LEGACY_HEAD[:-1] + pickle.dumps([[]] * (n // 4), 2) * 3),
    "header of arrays": (".safetensors", _header(lambda rng, n: _json({f"{k:x}": EMPTY for k in range(n // 20)}))),
    "header of notes": (
        ".safetensors", _header(lambda rng, n: _json({"__metadata__": {f"{k:x}": "" for k in range(n // 4)}})),
    ),
    "header with more": (
        ".safetensors",
        _header(lambda rng, n: _json({"x": EMPTY})[:-2] + ',"more":[' + pick(rng, ["[],", "{},", "1.5,"]) * n + "0]}}"),
    ),
    "header of axes": (".safetensors", _header(lambda rng, n: _json({"x": {**EMPTY, "shape": [0] + [1] * n}}))),
    "header of digits": (".safetensors", _header(lambda rng, n: _json({"x": EMPTY}).replace("[0]", f"[{'9' * n}]"))),
    "header nested": (".safetensors", _header(lambda rng, n: '{"x":' + "[" * n)),
    "header of one name": (".safetensors", _header(lambda rng, n: '{"' + "\\u1f60" * n + '":' + _json(EMPTY) + "}")),
    "index": (".index.json", lambda rng, n: _json({"weight_map": {f"{k:x}": "a.bin" for k in range(n // 4)}}).encode()),
    "index of files": (
        ".index.json", lambda rng, n: _json({"weight_map": {f"{k:x}": f"{k:x}.bin" for k in range(n // 4)}}).encode(),
    ),
    "index of lists": (".index.json", lambda rng, n: b'{"weight_map":[' + b"[]," * n + b"[]]}"),
    "index nested": (".index.json", lambda rng, n: b'{"weight_map":' + b"[" * n),
}  # fmt: skip


def amplified(number: int, index: int, most: int = MOST) -> SpoiltFile:
    """Return the file `index` of the run `number`: all kinds in turn, in each container, with counts of all sizes."""
    rng = np.random.default_rng((number, index, 1))
    kinds = [*KINDS, *CONTAINERS]
    kind = kinds[index % len(kinds)]
    count = int(most ** rng.uniform(0.3, 1))
    if index < len(kinds):
        count = LIMIT * most
    if kind in CONTAINERS:
        suffix, make = CONTAINERS[kind]
        return SpoiltFile(f"amplified: {kind}", make(rng, count), suffix, None, forged=True)
    pickled = b"\x80\x04" + KINDS[kind](rng, count) + b"."
    container = ("zip", "legacy", "bare")[(index // len(kinds)) % 3]
    content = {
        "zip": lambda: rezip([("a/data.pkl", pickled), ("a/data/0", bytes(96))]),
        "legacy": lambda: LEGACY_HEAD + pickled.replace(b"tQq\xf5", b"NtQq\xf5") + pickle.dumps(["0"], 2) + bytes(104),
        "bare": lambda: pickled,
    }[container]()
    return SpoiltFile(f"amplified: {kind} ({container})", content, ".pt", None, forged=True)
