"""Reads one spoilt file, and reports what happened: the outcome, its memory, its time, and whether anything ran."""

from __future__ import annotations

import codecs
import ctypes
import io
import platform
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

from . import canary
from .corpus import SoundFile
from .mutations import SpoiltFile

CONSTANT = 2**26
"""The memory that reading may use in addition to twice the size of the file: 64 MiB."""
SECONDS, SECONDS_A_BYTE = 1.0, 1e-6
"""The processor time that reading may use, and that for each byte of the file."""
LIBC = ctypes.CDLL(None) if sys.platform == "linux" and platform.libc_ver()[0] == "glibc" else None
FORBIDDEN = (
    "exec", "compile", "import", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.mkdir", "os.remove",
    "os.rename", "os.chmod", "os.putenv", "subprocess.Popen", "socket.connect", "pickle.find_class", "marshal.loads",
    "ctypes.dlopen", "code.__new__", "tempfile.mkstemp", "tempfile.mkdtemp", "shutil.unpack_archive", "webbrowser.open",
)  # fmt: skip


class Verdict(NamedTuple):
    """What happened to a file: the outcome, and every promise that was broken."""

    outcome: str
    broken: tuple[str, ...]
    seconds: float
    memory: int


class Watch:
    """Records what Python does while a file is read: imports, programs, and access to any other file."""

    def __init__(self) -> None:
        self.allowed: set[str] = set()
        self.seen: list[str] = []
        # Python loads a codec when it is first used, which would look like the work of a payload.
        for name in ("cp437", "raw_unicode_escape", "unicode_escape", "latin-1", "ascii", "utf-8"):
            codecs.lookup(name)
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.allowed:
            return
        if event in FORBIDDEN:
            self.seen.append(f"{event} {arguments[:1]!r:.80}")
        elif event == "open" and not isinstance(arguments[0], int):
            name = str(arguments[0])
            if name not in self.allowed and not name.startswith("/proc/self/"):
                self.seen.append(f"open {name:.80}")


def judge(spoilt: SpoiltFile, folder: Path, watch: Watch, *, rebuilt: bool) -> Verdict:
    """Read a file, and if that succeeds, compare the result with the contents before the file was spoilt."""
    path = folder / f"case{spoilt.suffix}"
    path.write_bytes(spoilt.content)
    beside = spoilt.sound.beside if spoilt.sound else {}
    for name, content in beside.items():
        (folder / name).write_bytes(content)
    options = {"inside": spoilt.sound.inside} if spoilt.sound and spoilt.sound.inside else {}
    canary.sang.clear()
    watch.seen.clear()
    _return_memory()
    before = _memory("VmRSS", reset=True)
    start = time.process_time()
    watch.allowed = {str(path), *(str(folder / name) for name in beside)}
    state, broken = None, []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", WrappedCheckpointWarning)
            state = parity.load(path, **options)
        outcome = "read"
    except MathdnnError as error:
        outcome = type(error).__name__
        if len(str(error)) > 5000:
            broken.append(f"a message of {len(str(error)):,} characters")
    except BaseException as error:
        outcome = "crash"
        broken.append(f"{type(error).__name__}: {error!s:.200}")
    finally:
        watch.allowed = set()
    seconds, memory = time.process_time() - start, _memory("VmHWM") - before
    broken += watch.seen
    if canary.sang:
        broken.append("a payload ran")
    if seconds > SECONDS + SECONDS_A_BYTE * len(spoilt.content):
        broken.append(f"{seconds:.1f} s for a file of {len(spoilt.content):,} bytes")
    if memory > 2 * len(spoilt.content) + CONSTANT:
        broken.append(f"{memory / 2**20:.0f} MiB for a file of {len(spoilt.content):,} bytes")
    if state is not None and spoilt.sound is not None:
        outcome = _compared(spoilt, spoilt.sound, state, read(path, **options).selection.path, broken)
        if rebuilt and spoilt.sound.model is not None:
            _rebuild(spoilt.sound, path, folder, same=outcome == "identical", broken=broken)
    return Verdict(outcome, tuple(broken), seconds, memory)


def _compared(
    spoilt: SpoiltFile, sound: SoundFile, state: Mapping[str, np.ndarray], inside: Sequence[str], broken: list[str]
) -> str:
    if same(state, sound.state):
        return "identical"
    # A zip has checksums. An index has none, but the files that it names say which arrays they hold.
    if (sound.kind == "zip" and not spoilt.forged) or sound.kind == "index":
        broken.append("other weights without a warning")
        return "altered"
    # Nothing in the file shows that its author wrote something else, so PyTorch has to read the same values.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = _theirs(spoilt.content, inside)
    except Exception as error:
        return f"read, unlike by PyTorch's reader ({type(error).__name__}: {str(error).strip()[:60]!r})"
    if not same(state, theirs):
        broken.append("PyTorch reads other values")
    return "another sound file" if spoilt.forged else "altered where the format has no checksum"


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
    """Return whether two states are equal bit by bit."""
    return a.keys() == b.keys() and all(
        a[name].dtype == b[name].dtype and a[name].shape == b[name].shape and a[name].tobytes() == b[name].tobytes()
        for name in a
    )


def _rebuild(sound: SoundFile, path: Path, folder: Path, *, same: bool, broken: list[str]) -> None:
    """Convert and write the weights. Either all of it works, or there is a named error and no file."""
    output = folder / "out"
    output.mkdir(exist_ok=True)
    try:
        restored = rebuild(read(path, inside=sound.inside), str(sound.model))
        save_params(output / "params.safetensors", restored.params, str(sound.model))
    except MathdnnError as error:
        if same and sound.kind != "safetensors":  # whose metadata may have come to name another model
            broken.append(f"sound weights refused: {error!s:.200}")
        if list(output.iterdir()):
            broken.append("part of an output was left")
    except BaseException as error:
        broken.append(f"conversion: {type(error).__name__}: {error!s:.200}")
    for file in output.iterdir():
        file.unlink()


def _return_memory() -> None:
    """Give freed memory back to the system, so that its use again counts."""
    if LIBC is not None:
        LIBC.malloc_trim(0)


def _memory(field: str, *, reset: bool = False) -> int:
    """Return this process's memory in bytes, now or at its peak since the last reset; 0 if the system does not tell."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
