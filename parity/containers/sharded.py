"""Checkpoints in several files: an index says which array is in which, and folders say which file is meant."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from parity.containers.budget import Budget
from parity.containers.json_text import parse_json
from parity.containers.safetensors import json_units
from parity.containers.tensor_map import file_size
from parity.display import listed, short
from parity.errors import (
    AmbiguousCheckpointError,
    CheckpointNotFoundError,
    CorruptCheckpointError,
    MissingShardError,
    NotAStateDictError,
    UnsafeCheckpointError,
    UnsupportedCheckpointError,
)

INDEX = ".index.json"
"""The end of the names of index files."""
MAX_INDEX_BYTES = 2**24
ENTRY_UNITS = 2
"""The units of work that it takes to look at an entry, beside parsing it."""
SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
STEMS = ("model", "pytorch_model", "diffusion_pytorch_model")
"""The names under which Hugging Face's libraries keep weights, in the order in which they are looked for."""
PART = re.compile(r"-[0-9]+-of-([0-9]+)\.")
"""What the name of a file has if it is one of several: `model-00001-of-00002.safetensors`."""

SPECIAL = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


def is_index(path: Path) -> bool:
    """Whether a name is that of an index: `model.safetensors.index.json`, `pytorch_model.bin.index.json`."""
    return path.name.endswith(INDEX)


def read_index(path: Path, file: BinaryIO, budget: Budget) -> dict[str, str]:
    """{name of an array: name of the file beside the index that holds it}.

    Raises:
        CorruptCheckpointError: It is not JSON, or gives a name twice.
        NotAStateDictError: It is JSON, but not the index of a checkpoint.
        UnsupportedCheckpointError: It is longer than is read here.
        UnsafeCheckpointError: It names files in other folders.
        MissingShardError: It names files that are not there.
        ExhaustedError: It asks for more work than its size warrants.
    """
    size = file_size(file)
    if size > MAX_INDEX_BYTES:
        raise UnsupportedCheckpointError(f"{path} has {size:,} bytes, more than the {MAX_INDEX_BYTES:,} of an index")
    text = file.read(size)
    # Until every name is known to be the only one of its kind, the names and values are in memory as pairs besides.
    budget.pay(json_units(text) * 3 // 2)
    try:
        # Left to itself, the parser would import a decoder for whatever encoding the first bytes look like.
        content = parse_json(path, str(text, "utf-8"))
    except CorruptCheckpointError:
        raise
    except (ValueError, RecursionError) as error:
        raise CorruptCheckpointError(f"{path} is not an index: it is not JSON text; obtain it again") from error
    found: Any = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(found, dict) or not found or not all(isinstance(shard, str) for shard in found.values()):
        raise NotAStateDictError(
            f"{path} is not the index of a checkpoint: expected an object whose weight_map gives for each array the "
            f"name of its file"
        )
    budget.pay(ENTRY_UNITS * len(found))
    shards = dict.fromkeys(found.values())
    if elsewhere := [shard for shard in shards if not _plain(shard)]:
        raise UnsafeCheckpointError(
            f"{path} names files that are not beside it: {_names(elsewhere)}; none of them was opened"
        )
    if missing := [shard for shard in shards if not _is_file(path.parent / shard)]:
        raise MissingShardError(
            f"{path} names {len(shards):,} files, and {len(missing):,} of them are not in its folder: "
            f"{_names(missing)}; obtain them, and put them beside it"
        )
    return found


def check_shards(path: Path, index: Mapping[str, str], held: Mapping[str, Sequence[str]]) -> None:
    """Check that each file holds exactly the arrays that the index says.

    Raises:
        NotAStateDictError: One of them holds others; the message lists these arrays.
    """
    expected: dict[str, set[str]] = {shard: set() for shard in held}
    for name, shard in index.items():
        expected[shard].add(name)
    for shard, names in held.items():
        lacking, more = sorted(expected[shard] - set(names)), sorted(set(names) - expected[shard])
        if lacking or more:
            raise NotAStateDictError(
                f"{path} and {short(shard)} do not belong together: by the index, this file lacks {_names(lacking)}, "
                f"and has {_names(more)} too many; obtain both from the same place"
            )


def find_in_folder(folder: Path) -> Path:
    """The checkpoint in a folder such as Hugging Face's libraries write: an index, or a single file.

    A folder often has the same weights as safetensors and as `pytorch_model.bin`; the former are taken.

    Raises:
        CheckpointNotFoundError: There is none.
        MissingShardError: There are only parts of one, without their index.
        AmbiguousCheckpointError: There are several, and nothing says which is meant.
    """
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    for stem in STEMS:
        for suffix in SUFFIXES[:2]:
            whole, index = f"{stem}{suffix}", f"{stem}{suffix}{INDEX}"
            if whole in names and index in names:
                raise AmbiguousCheckpointError(f"{folder} has both {whole} and {index}: name one of them")
            if whole in names or index in names:
                return folder / (whole if whole in names else index)
    for found in (
        [name for name in names if name.endswith(INDEX)],
        [name for name in names if name.endswith(SUFFIXES)],
    ):
        if found and all(map(_is_part, found)):
            raise MissingShardError(
                f"{folder} has only parts of a checkpoint, and not the index (…{INDEX}) that says which belong "
                f"together: {_names(found)}; obtain the index and all parts, or name the one file that you want"
            )
        if len(found) > 1:
            raise AmbiguousCheckpointError(f"{folder} has several checkpoints, name one: {_names(found)}")
        if found:
            return folder / found[0]
    raise CheckpointNotFoundError(
        f"checkpoint {folder} is a folder, and has no file that ends in {INDEX} or {', '.join(SUFFIXES)}: name a file"
    )


def what_it_is(path: Path) -> str:
    """What is at a path that is no regular file and no folder."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return "does not exist"
    return f"is {SPECIAL.get(stat.S_IFMT(mode), 'something else')}, not a file"


def _names(names: Sequence[str]) -> str:
    return listed(map(short, names), ", ") or "nothing"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        # The name may be too long for the file system.
        return False


def _is_part(name: str) -> bool:
    found = PART.search(name)
    return found is not None and int(found[1]) > 1 and not is_index(Path(name))


def _plain(shard: str) -> bool:
    return Path(shard).name == shard not in ("", "..") and "\\" not in shard and "\0" not in shard
