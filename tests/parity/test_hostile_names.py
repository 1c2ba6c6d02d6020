"""Names from files never reach a terminal as they are: they are escaped and cut, wherever a message shows them."""

from __future__ import annotations

import json
import struct
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import parity
from mathdnn_jax.cli import main
from parity import errors
from parity.containers.checkpoint import read
from parity.display import MAX_LISTED, MAX_NAME, cut, listed, plain, printable, short

pytest.importorskip("torch", reason="spoilt files are made beside PyTorch's")

from ..fuzz.mutations import rezip
from ..fuzz.pickles import mapping, tensor, text

CONTROLS = "\x1b[2J\x1b]0;t\x07\r\b\x7f\x9b\u202e\u2066\u200b\u200d\ufeff\u2028\U000e0041\u3164\u0301"
EVIL = f"x{CONTROLS}y"
LONG = EVIL + "z" * 60_000


def harmless(message: str) -> bool:
    """No control, no mark and nothing invisible; ends of lines are the message's own."""
    return len(message) < 5000 and all(
        character == "\n" or (unicodedata.category(character)[0] not in "CM" and character.isprintable())
        for character in message.replace("\u3164", "\x00")
    )


def one(name: str, key: str = "0") -> bytes:
    return mapping([(name, tensor(key, (1,), (1,), 1))])


def archive(pickled: bytes, *more: tuple[str, bytes]) -> bytes:
    return rezip([("a/data.pkl", pickled), ("a/data/0", bytes(4)), *more])


def header(entry: object, name: str = EVIL) -> bytes:
    raw = json.dumps({name: entry}).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(4)


def damaged(content: bytes) -> bytes:
    at = content.index(b"\x89\x89\x89\x89")
    return content[:at] + b"\x88" + content[at + 1 :]


CASES: dict[str, Callable[[str], bytes]] = {
    "a global": lambda name: archive(b"\x80\x02c__builtin__\n" + name.encode() + b"\n)R."),
    "a global of protocol 4": lambda name: archive(b"\x80\x04" + text("os") + text(name) + b"\x93)R."),
    "a global in a damaged pickle": lambda name: archive(b"\x80\x02c__builtin__\n" + name.encode() + b"\n\xff."),
    "a global in a bare pickle": lambda name: b"\x80\x02c__builtin__\n" + name.encode() + b"\n)R.",
    "a key": lambda name: archive(b"\x80\x02}" + text(name) + b"Ns."),
    "a key of a damaged tensor": lambda name: archive(one(name, "7")),
    "the key of a storage": lambda name: archive(one("w", name)),
    "nested keys": lambda name: archive(
        b"\x80\x02}(" + b"".join(text(name + k) + one("w")[2:-1] for k in "ab") + text(name) + b"Nu."
    ),
    "a record": lambda name: damaged(archive(one("w"), (f"a/{name[:300]}", b"\x89" * 4))),
    "two records": lambda name: archive(one("w"), ("a/" + name[:300], b""), ("a/" + name[:300], b"")),
    "records alone": lambda name: rezip([(name[:300], b"")]),
    "a name of safetensors": lambda name: header({"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}, name),
    "a dtype of safetensors": lambda name: header({"dtype": name, "shape": [1], "data_offsets": [0, 4]}, "w"),
    "a wrong place in safetensors": lambda name: header({"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}, name),
    "a field of safetensors": lambda name: header({name: 1}),
    "a missing file of an index": lambda name: json.dumps({"weight_map": {"w": "a" + name}}).encode(),
    "a file elsewhere of an index": lambda name: json.dumps({"weight_map": {"w": "../" + name}}).encode(),
    "a name of an index": lambda name: json.dumps(
        {"weight_map": {"w": "part.safetensors", name: "part.safetensors"}}
    ).encode(),
    "an index without a map": lambda name: json.dumps({name: name}).encode(),
}


NAMELESS = ("the key of a storage", "records alone", "a field of safetensors", "an index without a map")
"""Cases whose messages have no reason to show the name."""


@pytest.mark.parametrize("name", [EVIL, LONG], ids=["short", "long"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_messages_show_names_escaped_and_cut(tmp_path: Path, case: str, name: str) -> None:
    name = name.replace("\r", "") if "global" in case else name
    content = CASES[case](name)
    part = header({"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "w")
    (tmp_path / "part.safetensors").write_bytes(part)
    suffix = ".safetensors" if content[8:9] == b"{" else ".index.json" if content[:1] == b"{" else ".pt"
    path = tmp_path / f"c{suffix}"
    path.write_bytes(content)
    with pytest.raises(errors.CheckpointError) as caught:
        parity.load(path)
    message = str(caught.value)
    assert harmless(message), message
    assert str(path) in message
    # The name is still there to be recognised.
    if case not in NAMELESS:
        assert "x\\x1b[2J" in message or "\\u" in message, message


def test_warnings_and_the_command_line_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.pt"
    path.write_bytes(archive(b"\x80\x02}(" + text(LONG) + one("w")[2:-1] + text(EVIL) + b"Nu."))
    with pytest.warns(errors.WrappedCheckpointWarning) as caught:
        parity.load(path)
    assert harmless(str(caught[0].message))
    assert len(next(iter(read(path).selection.left))) < 2 * MAX_NAME
    assert main(["convert", str(path), str(tmp_path / "o.safetensors")]) != 0
    assert harmless(capsys.readouterr().err)


def test_the_conversion_too(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    path.write_bytes(archive(one(EVIL + "\n")))
    with pytest.raises(errors.ConversionError) as caught:
        parity.restore(path)
    assert harmless(str(caught.value))
    state = {EVIL + "\n": np.ones(1, np.float32), LONG: np.ones(1, np.float32)}
    target = {"params": {"fc": {"kernel": np.ones((1, 1), np.float32)}}}
    for act in (lambda: parity.infer_rules(state, target), lambda: parity.convert(state, "lenet")):
        with pytest.raises(errors.ConversionError) as caught:
            act()
        assert str(caught.value).replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("größe.weight", "größe.weight"),
        ("重み", "重み"),
        ("a\x1bb", "a\\x1bb"),
        ("a\u202eb", "a\\u202eb"),
        ("e\u0301", "e\\u0301"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
        ("a\nb", "a\\nb"),
    ],
)
def test_what_is_shown_and_what_is_escaped(name: str, shown: str) -> None:
    assert plain(name) == shown
    assert short(name) == f"'{shown}'"
    assert printable(name.replace("\n", "")) == shown.replace("\\n", "")


def test_long_names_keep_their_ends() -> None:
    name = f"begin{'x' * 1000}end"
    assert len(cut(name)) == MAX_NAME
    assert cut(name).startswith("begin")
    assert cut(name).endswith("end")
    assert cut(name[:MAX_NAME]) == name[:MAX_NAME]
    assert short(2**70) == "of type int"
    assert listed(map(str, range(MAX_LISTED))) == "; ".join(map(str, range(MAX_LISTED)))
    assert listed(map(str, range(1500)), ", ").endswith(f", {MAX_LISTED - 1}, and 1,490 more")
