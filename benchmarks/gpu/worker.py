"""The process that computes, as seen from outside: starting it, talking to it, and ending it."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

LAST_LINES = 40
"""Number of last printed lines to record when a process crashes."""
ALIVE = 0.5
"""Seconds between two checks that the process is still alive."""
REPOSITORY = Path(__file__).resolve().parents[2]


class Process:
    """A process that runs `benchmarks.gpu.process`; its output is passed on to the standard error of this one."""

    def __init__(self, environment: Mapping[str, str], *, rehearsal: bool) -> None:
        read, write = os.pipe()
        self._rehearsal = rehearsal
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.gpu.process", str(write)],
            env={**os.environ, **environment},
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=(write,),
            process_group=0,
        )
        os.close(write)
        self._answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._printed: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
        self._threads = [
            threading.Thread(target=self._collect, args=(os.fdopen(read, encoding="utf-8"),), daemon=True),
            threading.Thread(target=self._print, args=(self._process.stdout,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def ask(self, step: str, seconds: float, short: list[list[str]]) -> None:
        """Request a step. If the process has ended, `answer` will say so."""
        request = {"step": step, "rehearsal": self._rehearsal, "seconds": seconds, "short": short}
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()

    def answer(self, seconds: float) -> dict[str, Any] | None:
        """Return the next answer, or None if none arrives within this many seconds.

        Raises:
            EOFError: the process has ended; the message says how, and has its last lines.
        """
        until = time.monotonic() + seconds
        while True:
            left = until - time.monotonic()
            # A process that it started may keep the pipe open after its death, so the pipe may never end.
            ended = self._process.poll() is not None
            try:
                answer = self._answers.get(timeout=min(max(left, 0.001), ALIVE))
            except queue.Empty:
                if ended:
                    break
                if left <= 0:
                    return None
            else:
                if answer is not None:
                    return answer
                break
        status = self._process.wait()
        how = f"by signal {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        raise EOFError(f"its process ended {how}; its last lines:\n{''.join(self._printed)}")

    def close(self) -> None:
        """Kill the process and everything that it started, and wait for its end."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):  # a driver that hangs
            self._process.wait(timeout=30)
        for thread in self._threads:
            thread.join(timeout=5)
        # Closing a stream that a thread still reads would block.
        streams = [self._process.stdin, *([] if self._threads[1].is_alive() else [self._process.stdout])]
        for stream in streams:
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def _collect(self, answers: IO[str]) -> None:
        with answers:
            for line in answers:
                if line.endswith("\n"):  # a killed process may leave half a line behind
                    self._answers.put(json.loads(line))
        self._answers.put(None)

    def _print(self, printed: IO[str] | None) -> None:
        assert printed is not None
        for line in printed:
            self._printed.append(line)
            sys.stderr.write(line)
