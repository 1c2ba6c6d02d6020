"""Ways to spoil a checkpoint, either blindly or with knowledge of its format."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .corpus import MADE, SoundFile
from .pickles import claims, hostile, pick

Generator = np.random.Generator
LEGACY_HEAD = b"".join(
    pickle.dumps(value, protocol=2) for value in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001})
)
NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**62, 2**63 - 1, 2**64 - 1)
NAMES = ("../../evil", "/etc/passwd", "C:\\evil", "a/../../b", "", "x" * 5000, "nul\0l", "\u202edata.pkl")


class SpoiltFile(NamedTuple):
    """A spoilt file. A `forged` one has valid checksums, so no reader can distinguish it from an intended one.

    `sound` is the file that was spoilt; a file that was hostile from the beginning has none.
    """

    how: str
    content: bytes
    suffix: str
    sound: SoundFile | None
    forged: bool


def make(files: list[SoundFile], number: int, index: int) -> SpoiltFile:
    """Return the file `index` of the run `number`. Each file can be made again on its own."""
    rng = np.random.default_rng((number, index))
    # The small files are spoilt more often than the real ones.
    sound = pick(rng, files[:MADE]) if rng.integers(8) else pick(rng, files)
    forging = {"zip": ZIP, "legacy": LEGACY, "safetensors": SAFETENSORS, "index": INDEX}[sound.kind]
    if rng.integers(2):
        how = pick(rng, list(BLIND))
        content = BLIND[how](rng, sound.content)
        if not rng.integers(4):
            content = BLIND[pick(rng, list(BLIND))](rng, content)
        return SpoiltFile(how, content, sound.suffix, sound, forged=False)
    if not rng.integers(8):
        return SpoiltFile("bare pickle", hostile(rng), pick(rng, [".pt", ".pth", "", ".pkl"]), sound, forged=True)
    how = pick(rng, list(forging))
    suffix = pick(rng, [".pt", ".safetensors"]) if not rng.integers(20) else sound.suffix
    return SpoiltFile(f"{sound.kind}: {how}", forging[how](rng, sound.content), suffix, sound, forged=True)


def _place(rng: Generator, content: bytes, width: int = 1) -> int:
    """Return a position anywhere in the file or, more often, near its beginning or end, where the headers are."""
    last = max(1, len(content) - width)
    near = int(rng.integers(min(last, 600)))
    return int(pick(rng, [int(rng.integers(last)), near, last - near]))


def _patched(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]


def _flip(rng: Generator, content: bytes) -> bytes:
    spoilt = bytearray(content)
    for _ in range(int(pick(rng, [1, 1, 2, 8, 100]))):
        if spoilt:
            spoilt[min(_place(rng, content), len(spoilt) - 1)] ^= 1 << int(rng.integers(8))
    return bytes(spoilt)


def _number(rng: Generator, content: bytes) -> bytes:
    form = pick(rng, ["<B", "<H", "<I", "<Q", ">I", ">Q"])
    width = struct.calcsize(form)
    return _patched(content, _place(rng, content, width), struct.pack(form, pick(rng, NUMBERS) % 2 ** (8 * width)))


def _block(rng: Generator, content: bytes) -> tuple[int, int]:
    start = _place(rng, content)
    return start, min(len(content), start + int(pick(rng, [1, 4, 30, 64, 512])))


def _deleted(rng: Generator, content: bytes) -> bytes:
    start, end = _block(rng, content)
    return content[:start] + content[end:]


def _doubled(rng: Generator, content: bytes) -> bytes:
    start, end = _block(rng, content)
    return content[:end] + content[start:end] * int(pick(rng, [1, 2, 50])) + content[end:]


def _swapped(rng: Generator, content: bytes) -> bytes:
    (a, b), c = _block(rng, content), _place(rng, content)
    first, second = content[a:b], content[c : c + b - a]
    return _patched(_patched(content, a, second), c, first)


BLIND: dict[str, Callable[[Generator, bytes], bytes]] = {
    "truncated": lambda rng, c: c[: _place(rng, c)],
    "begun later": lambda rng, c: c[_place(rng, c) :],
    "lengthened": lambda rng, c: c + bytes(rng.integers(0, 256, int(pick(rng, [1, 22, 4096])), np.uint8)),
    "preceded": lambda rng, c: bytes(rng.integers(0, 256, int(pick(rng, [1, 8, 512])), np.uint8)) + c,
    "bits flipped": _flip,
    "number": _number,
    "noise": lambda rng, c: _patched(c, _place(rng, c), bytes(rng.integers(0, 256, 16, np.uint8))),
    "zeros": lambda rng, c: _patched(c, _place(rng, c), bytes(int(pick(rng, [4, 64, 512])))),
    "deleted": _deleted,
    "doubled": _doubled,
    "swapped": _swapped,
    "twice": lambda rng, c: c + c,
}


def rezip(records: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in records:
            archive.writestr(zipfile.ZipInfo(name or "_"), content, method)
    return buffer.getvalue()


def _records(content: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def _on_records(change: Callable[[Generator, list[tuple[str, bytes]]], None]) -> Callable[[Generator, bytes], bytes]:
    def changed(rng: Generator, content: bytes) -> bytes:
        records = _records(content)
        change(rng, records)
        return rezip(records)

    return changed


def _set(rng: Generator, records: list[tuple[str, bytes]], change: Callable[[bytes], bytes], end: str = "") -> None:
    chosen = [k for k, (name, _) in enumerate(records) if name.endswith(end)]
    k = pick(rng, chosen)
    records[k] = records[k][0], change(records[k][1])


def _swap_contents(rng: Generator, records: list[tuple[str, bytes]]) -> None:
    a, b = (int(rng.integers(len(records))) for _ in range(2))
    records[a], records[b] = (records[a][0], records[b][1]), (records[b][0], records[a][1])


def _rename(rng: Generator, records: list[tuple[str, bytes]]) -> None:
    k = int(rng.integers(len(records)))
    records[k] = pick(rng, [pick(rng, NAMES), records[0][0].replace("data.pkl", pick(rng, NAMES))]), records[k][1]


def _directory_number(rng: Generator, content: bytes) -> bytes:
    start = content.rindex(b"PK\x01\x02", 0, len(content)) if rng.integers(2) else content.index(b"PK\x01\x02")
    at = start + int(rng.integers(46)) if rng.integers(2) else len(content) - 98 + int(rng.integers(94))
    form = pick(rng, ["<H", "<I"])
    return _patched(content, at, struct.pack(form, pick(rng, NUMBERS) % 2 ** (8 * struct.calcsize(form))))


ZIP: dict[str, Callable[[Generator, bytes], bytes]] = {
    "record missing": _on_records(lambda rng, r: r.__delitem__(int(rng.integers(len(r))))),
    "record doubled": _on_records(lambda rng, r: r.append((r[0][0][:-1] + "m", pick(rng, r)[1]))),
    "order": _on_records(lambda rng, r: rng.shuffle(r)),
    "contents swapped": _on_records(_swap_contents),
    "content cut": _on_records(lambda rng, r: _set(rng, r, lambda c: c[: len(c) // 2])),
    "content longer": _on_records(lambda rng, r: _set(rng, r, lambda c: c + bytes(int(pick(rng, [1, 4, 4096]))))),
    "renamed": _on_records(_rename),
    "second pickle": _on_records(lambda rng, r: r.append(("other/data.pkl", hostile(rng)))),
    "byte order": _on_records(lambda rng, r: _set(rng, r, lambda c: pick(rng, [b"big", b"", b"middle"]), "byteorder")),
    "torchscript": _on_records(lambda rng, r: r.append((r[0][0].replace("data.pkl", "constants.pkl"), hostile(rng)))),
    "nested": lambda rng, c: rezip([("archive/data.pkl", c), ("archive/data/0", c)]),
    "compressed": lambda rng, c: rezip(_records(c), zipfile.ZIP_DEFLATED),
    "bomb": lambda rng, c: rezip([("a/data.pkl", bytes(10_000_000))], zipfile.ZIP_DEFLATED),
    "list of records": _directory_number,
    "pickle spoilt": _on_records(
        lambda rng, r: _set(rng, r, lambda c: BLIND[pick(rng, list(BLIND))](rng, c), "data.pkl")
    ),
    "pickle": _on_records(lambda rng, r: _set(rng, r, lambda c: hostile(rng), "data.pkl")),
    "claims": lambda rng, c: rezip([("a/data.pkl", claims(rng)), ("a/data/0", bytes(range(96)))]),
    "pickle begun": _on_records(lambda rng, r: _set(rng, r, lambda c: hostile(rng)[:-1] + b"0" + c[2:], "data.pkl")),
}


def _legacy_claims(rng: Generator, content: bytes) -> bytes:
    keys = pickle.dumps(["0"], protocol=2)
    return (
        LEGACY_HEAD
        + claims(rng, legacy=True)
        + keys
        + struct.pack("<q", int(pick(rng, [24, 24, 24, 2**40, -1])))
        + bytes(96)
    )


def _inside(rng: Generator, content: bytes) -> bytes:
    # The pickles of the file begin there.
    at = pick(rng, [k for k in range(len(content)) if content[k : k + 2] in (b"\x80\x02", b"\x80\x04")])
    return content[:at] + hostile(rng, legacy=True) + content[at:]


LEGACY: dict[str, Callable[[Generator, bytes], bytes]] = {
    "pickle": lambda rng, c: LEGACY_HEAD + hostile(rng, legacy=True) + c[len(LEGACY_HEAD) :],
    "claims": _legacy_claims,
    "inside": _inside,
    "first": lambda rng, c: hostile(rng, legacy=True) + c,
    "tar": lambda rng, c: b"storages" + bytes(92) + b"0000644\0" * 3 + bytes(133) + b"ustar\x0000" + bytes(247) + c,
    "zip in it": lambda rng, c: LEGACY_HEAD + rezip([("a/data.pkl", c)]),
}


def _header(change: Callable[[Generator, dict[str, object]], object]) -> Callable[[Generator, bytes], bytes]:
    def changed(rng: Generator, content: bytes) -> bytes:
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        new = change(rng, header)
        raw = new if isinstance(new, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(raw)) + raw + content[8 + length :]

    return changed


def _entry(rng: Generator, header: dict[str, object]) -> None:
    name = pick(rng, [name for name in header if name != "__metadata__"])
    entry = dict(header[name])  # type: ignore[call-overload]
    field = pick(rng, ["dtype", "shape", "data_offsets"])
    values = [
        -1,
        0,
        1,
        2**31,
        2**63,
        2**64,
        1.5,
        None,
        "x",
        [],
        [2**40] * 4,
        [0, 2**62, 2**62],
        [0, 4],
        [4, 0],
        [1] * 80,
    ]
    entry[field] = pick(rng, ["F64", "BF16", "F8_E4M3", "I32", "F4", *values])
    if rng.integers(2):
        del header[name]
    header[pick(rng, [name, *NAMES])] = entry


SAFETENSORS: dict[str, Callable[[Generator, bytes], bytes]] = {
    "entry": _header(_entry),
    "entry missing": _header(lambda rng, h: h.pop(pick(rng, list(h)))),
    "metadata": _header(
        lambda rng, h: h.update(__metadata__=pick(rng, [1, {"a": 1}, {"mathdnn_jax params": "x"}, []]))
    ),
    "nesting": _header(lambda rng, h: b"[" * int(pick(rng, [10, 5_000, 500_000]))),
    "doubled name": _header(lambda rng, h: (json.dumps(h)[:-1] + ", " + json.dumps(h)[1:]).encode()),
    "many": _header(
        lambda rng, h: h.update({f"x{k}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for k in range(5000)})
    ),
    "length": lambda rng, c: struct.pack("<Q", pick(rng, [*NUMBERS, 2**22, 10**8, len(c)])) + c[8:],
    "header cut": _header(lambda rng, h: json.dumps(h).encode()[: int(rng.integers(1, 200))]),
    "header spoilt": lambda rng, c: c[:8] + BLIND["bits flipped"](rng, c[8:400]) + c[400:],
}


def _map(rng: Generator, content: bytes) -> bytes:
    """Change a name of an array, or of a file, in an index."""
    index = json.loads(content)
    names = index["weight_map"]
    name = pick(rng, list(names))
    part = pick(rng, ["part-1.safetensors", "part-3.safetensors", *NAMES, "case.index.json", ".", 1, None, {}])
    if rng.integers(2):
        del names[name]
    names[pick(rng, [name, *NAMES])] = part
    return json.dumps(index).encode()


INDEX: dict[str, Callable[[Generator, bytes], bytes]] = {
    "map": _map,
    "no map": lambda rng, c: c.replace(b"weight_map", b"weight_mop"),
    "other map": lambda rng, c: b'{"weight_map": ' + pick(rng, [b"[]", b"{}", b"1", b'{"a": 1}', b'"x"']) + b"}",
}
