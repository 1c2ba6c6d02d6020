"""What each step of a reader takes from the budget of its file: as much as the work that it repeats."""

from __future__ import annotations

import json
import struct
import zipfile
from contextlib import nullcontext
from pathlib import Path

import pytest

from parity.containers import read_archive, read_safetensors
from parity.containers.budget import ALLOWANCE, BYTES_PER_UNIT, Budget, ExhaustedError
from parity.containers.objects import Storage, Tensor, key_of
from parity.containers.pickles import Machine
from parity.containers.tensor_map import TENSOR_UNITS, Source, map_tensors
from parity.containers.wrapped import WALK_UNITS, find_state

from ..fuzz.pickles import integer, mapping, tensor, text

MANY = b"(" + b"K\x01" * 1000
SIZE, ORDERED = b"ctorch\nSize\nq\x09", b"ccollections\nOrderedDict\nq\x09"
PARAMETER = b"ctorch._utils\n_rebuild_parameter\nq\x09"
STORAGE = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + integer(24) + b"tQq\x08"
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\nq\x09" + STORAGE
ONE = b"h\x09(h\x08K\0K\1\x85K\1\x85tR"
LONG = "\N{GRINNING FACE}" * 15_000
STEPS: dict[str, tuple[bytes, bytes, int]] = {
    "a size of a list": (MANY + b"lq\0" + SIZE, b"h\x09h\0\x85R", 2000),
    "a size of a tuple": (MANY + b"tq\0" + SIZE, b"h\x09h\0\x85R", 2000),
    "an ordered mapping": (b"(" + b"K\x01N\x86" * 1000 + b"lq\0" + ORDERED, b"h\x09h\0\x85R", 4000),
    "arguments": (TENSOR + ONE + b"q\2(h\2" + b"N" * 1000 + b"tq\0" + PARAMETER, b"h\x09h\0R", 1000),
    "a shape and strides": (MANY + b"tq\0" + TENSOR, b"h\x09(h\x08K\0h\0h\0tR", 2000),
    "entries of a mapping": (b"}", MANY + b"u", 1000 + 4 * 500),
    "a mapping of entries": (b"", MANY + b"d", 1000 + 4 * 500),
    "one entry of a mapping": (b"}", b"K\1Ns", 3 + 4),
    "a text that is not ASCII": (b"", text(LONG), 7500),
    "a name of texts": (text("a" * 60_000) + b"q\0", b"h\0h\0\x93", 7500),
    "a name in lines": (b"", b"c" + b"a" * 60_000 + b"\nb\n", 3750),
    "the call of an old instance": (PARAMETER, MANY + b"iargparse\nNamespace\n", 1000),
    "a list": (b"", b"]", 2),
    "a mapping": (b"", b"}", 2),
    "a mark": (b"", b"(", 2),
    "a memo": (b"N", b"\x94", 2),
}  # fmt: skip


def units(instructions: bytes) -> int:
    budget = Budget(0)

    def storage(identity: tuple[object, ...]) -> Storage:
        return Storage(identity[1].dtype, "0", 24)  # type: ignore[attr-defined]

    Machine(b"\x80\x04" + instructions + b"N.", budget, storage).load()
    return ALLOWANCE - budget.left


@pytest.mark.parametrize("name", STEPS)
def test_a_step_is_paid_each_time(name: str) -> None:
    before, step, expected = STEPS[name]
    assert units(before + step) - units(before) >= expected
    assert units(before + 3 * step) - units(before + step) >= 2 * expected


def test_the_budget_grows_with_the_file() -> None:
    assert Budget(10**9).left == ALLOWANCE + 10**9 // BYTES_PER_UNIT
    budget = Budget(0)
    budget.pay(ALLOWANCE)
    with pytest.raises(ExhaustedError):
        budget.pay(1)
    with pytest.raises(ExhaustedError):
        Machine(b"\x80\x02" + b"N" * 10 + b".", budget).load()


def test_finding_a_state_is_paid_by_the_entries_that_are_looked_at() -> None:
    value = Tensor(Storage("x", "0", 1), "x", 0, (), ())
    inner = {key_of(str(k)): value for k in range(100)}
    beside = {str(k): None for k in range(50)}
    budget = Budget(0)
    find_state("x", {"a": {"b": inner, **beside}, "again": {"b": inner}}, "a/b", budget.pay)
    # The outermost two, those below, the tensors once, and each entry that is left out.
    looked = 2 + (2 + 51 + 1 + 100) + (1 + 50)
    assert ALLOWANCE - budget.left == WALK_UNITS * looked


def test_locating_tensors_is_paid_by_their_number() -> None:
    value = Tensor(Storage("x", "0", 1), "x", 0, (), ())
    used = []
    for count in (0, 10):
        budget = Budget(0)
        source = Source("x", 0, lambda _: (0, 0), budget)
        with pytest.raises(Exception, match="x is not a flat state") if count else nullcontext():
            map_tensors(source, {str(k): value for k in range(count)})
        used.append(ALLOWANCE - budget.left)
    assert used[1] - used[0] == 10 * (TENSOR_UNITS + WALK_UNITS)


def test_records_and_headers_are_paid_by_their_number(tmp_path: Path) -> None:
    used = []
    for count in (0, 100):
        with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
            archive.writestr("x/data.pkl", mapping([("w", tensor("0", (1,), (1,), 1))]))
            for k in range(count + 1):
                archive.writestr(f"x/data/{k}", bytes(4))
        budget = Budget(0)
        with (tmp_path / "x.pt").open("rb") as file:
            read_archive(tmp_path / "x.pt", file, budget)
        used.append(ALLOWANCE - budget.left)
    assert used[1] - used[0] >= 16 * 100
    pytest.importorskip("safetensors")
    used = []
    for count in (1, 101):
        entry = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
        header = json.dumps({str(k): entry for k in range(count)}).encode()
        (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
        budget = Budget(0)
        with (tmp_path / "x.safetensors").open("rb") as file:
            read_safetensors(tmp_path / "x.safetensors", file, budget)
        used.append(ALLOWANCE - budget.left)
    # Ten quotes, six colons and commas more, and five brackets, besides the array itself.
    assert used[1] - used[0] >= 100 * (30 + TENSOR_UNITS)
