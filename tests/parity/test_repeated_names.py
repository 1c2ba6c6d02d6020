"""Names that JSON in a file gives twice: nothing says which of the two is meant, so neither is taken."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

import parity
from parity import errors

safetensors = pytest.importorskip("safetensors.numpy", reason="the files are checked by safetensors first")

FIRST = '{"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}'
SECOND = '{"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}'
WHOLE = '{"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}'
OTHER = '{"dtype": "I32", "shape": [4], "data_offsets": [0, 16]}'
HEADERS = {
    "beside another": f'{{"b": {FIRST}, "a": {FIRST}, "a": {SECOND}}}',
    "of another dtype": f'{{"a": {WHOLE}, "a": {OTHER}}}',
    "with an escape": f'{{"a": {WHOLE}, "\\u0061": {OTHER}}}',
    "in the metadata": f'{{"__metadata__": {{"a": "1", "a": "2"}}, "w": {WHOLE}}}',
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_name_twice_in_a_header_is_said(tmp_path: Path, case: str) -> None:
    header = HEADERS[case].encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + np.arange(4, dtype="<f4").tobytes())
    with pytest.raises(errors.CorruptCheckpointError, match=r"x.safetensors is damaged: it gives 'a' twice, expected"):
        parity.load(path)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('{"weight_map": {"a": "1.safetensors", "a": "2.safetensors", "b": "2.safetensors"}}', "a"),
        ('{"weight_map": {"a": "1.safetensors", "\\u0061": "2.safetensors", "b": "2.safetensors"}}', "a"),
        (
            '{"weight_map": {"a": "1.safetensors"}, "weight_map": {"a": "2.safetensors", "b": "2.safetensors"}}',
            "weight_map",
        ),
    ],
)
def test_a_name_twice_in_an_index_is_said(tmp_path: Path, text: str, name: str) -> None:
    safetensors.save_file({"a": np.ones(2)}, tmp_path / "1.safetensors")
    safetensors.save_file({"a": np.zeros(2), "b": np.zeros(2)}, tmp_path / "2.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(
        errors.CorruptCheckpointError, match=f"index.json is damaged: it gives '{name}' twice, expected"
    ):
        parity.load(tmp_path)
