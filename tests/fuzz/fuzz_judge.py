"""Reads one spoilt file, and says what became of it: its memory, its time, and whether anything ran."""

from __future__ import annotations

import codecs
import io
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

import parity
from mathdnn_jax.errors import MathdnnError
from parity.containers.checkpoint import read
from parity.errors import WrappedCheckpointWarning
from parity.store import rebuild, save_params

from . import fuzz_canary
from .fuzz_corpus import Seed
from .fuzz_mutations import Case

CONSTANT = 2**25
"""Memory that reading may take beside twice the file: 32 MiB."""
SECONDS = 5.0
FORBIDDEN = (
    "exec", "compile", "import", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.mkdir", "os.remove",
    "os.rename", "os.chmod", "os.putenv", "subprocess.Popen", "socket.connect", "pickle.find_class", "marshal.loads",
    "ctypes.dlopen", "code.__new__", "tempfile.mkstemp", "tempfile.mkdtemp", "shutil.unpack_archive", "webbrowser.open",
)  # fmt: skip


class Verdict(NamedTuple):
    """What became of a file: an outcome, and every promise that was broken."""

    outcome: str
    broken: tuple[str, ...]
    seconds: float
    memory: int


class Watch:
    """Notes what Python does while a file is read: imports, programs, files other than the one that is read."""

    def __init__(self) -> None:
        self.allowed: Path | None = None
        self.seen: list[str] = []
        # Python loads a codec with its first use, which would look as if a payload had done it.
        for name in ("cp437", "raw_unicode_escape", "unicode_escape", "latin-1", "ascii", "utf-8"):
            codecs.lookup(name)
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.allowed is None:
            return
        if event in FORBIDDEN:
            self.seen.append(f"{event} {arguments[:1]!r:.80}")
        elif event == "open" and not isinstance(arguments[0], int):
            name = str(arguments[0])
            if name != str(self.allowed) and not name.startswith("/proc/self/"):
                self.seen.append(f"open {name:.80}")


def judge(case: Case, folder: Path, watch: Watch, *, rebuilt: bool) -> Verdict:
    """Read a file, and if it can be read hold what it gives against what was in the file before it was spoilt."""
    path = folder / f"case{case.suffix}"
    path.write_bytes(case.content)
    fuzz_canary.sang.clear()
    watch.seen.clear()
    before = _memory("VmRSS", reset=True)
    start = time.perf_counter()
    watch.allowed = path
    state, broken = None, []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", WrappedCheckpointWarning)
            state = parity.load(path)
        outcome = "read"
    except MathdnnError as error:
        outcome = type(error).__name__
        if len(str(error)) > 5000:
            broken.append(f"a message of {len(str(error)):,} characters")
    except BaseException as error:
        outcome = "crash"
        broken.append(f"{type(error).__name__}: {error!s:.200}")
    finally:
        watch.allowed = None
    seconds, memory = time.perf_counter() - start, _memory("VmHWM") - before
    broken += watch.seen
    if fuzz_canary.sang:
        broken.append("a payload ran")
    if seconds > SECONDS:
        broken.append(f"{seconds:.1f} s")
    if memory > 2 * len(case.content) + CONSTANT:
        broken.append(f"{memory / 2**20:.0f} MiB for a file of {len(case.content):,} bytes")
    if state is not None:
        outcome = _compared(case, state, read(path).selection.path, broken)
        if rebuilt and case.seed.model is not None:
            _rebuild(case.seed, path, folder, same=outcome == "identical", broken=broken)
    return Verdict(outcome, tuple(broken), seconds, memory)


def _compared(case: Case, state: Mapping[str, np.ndarray], inside: Sequence[str], broken: list[str]) -> str:
    if same(state, case.seed.state):
        return "identical"
    if case.seed.kind == "zip" and not case.forged:
        broken.append("other weights, and no word of it")
        return "altered"
    # Nothing in the file tells that this is not what its author wrote; PyTorch has to read the same out of it.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = _theirs(case.content, inside)
    except Exception as error:
        return f"read, unlike by PyTorch's reader ({type(error).__name__}: {str(error).strip()[:60]!r})"
    if not same(state, theirs):
        broken.append("PyTorch reads other values")
    return "another sound file" if case.forged else "altered where the format has no checksum"


def _theirs(content: bytes, inside: Sequence[str]) -> dict[str, np.ndarray]:
    if content[8:9] == b"{":
        from safetensors.torch import load

        loaded: Any = load(content)
    else:
        loaded = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    for name in inside:
        loaded = loaded[name]
    return {name: parity.containers.checkpoint.to_numpy(value) for name, value in loaded.items()}


def same(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> bool:
    """Whether two states are equal to the bit."""
    return a.keys() == b.keys() and all(
        a[name].dtype == b[name].dtype and a[name].shape == b[name].shape and a[name].tobytes() == b[name].tobytes()
        for name in a
    )


def _rebuild(seed: Seed, path: Path, folder: Path, *, same: bool, broken: list[str]) -> None:
    """Convert and write: all of it, or a named error and no file."""
    output = folder / "out"
    output.mkdir(exist_ok=True)
    try:
        restored = rebuild(read(path), str(seed.model))
        save_params(output / "params.safetensors", restored.params, str(seed.model))
    except MathdnnError as error:
        if same and seed.kind != "safetensors":  # whose metadata may have come to name another model
            broken.append(f"sound weights refused: {error!s:.200}")
        if list(output.iterdir()):
            broken.append("a part of an output")
    except BaseException as error:
        broken.append(f"conversion: {type(error).__name__}: {error!s:.200}")
    for file in output.iterdir():
        file.unlink()


def _memory(field: str, *, reset: bool = False) -> int:
    """Bytes of this process's memory, now or at its peak since the last reset; 0 where the system does not tell."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
