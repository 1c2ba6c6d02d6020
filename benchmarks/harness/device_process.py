"""Work in a new process that has another number of devices; the process starts once, and works when it is told to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping

from mathdnn_jax.errors import ConfigurationError

GO = "go\n"


class DeviceProcess:
    """A process in which `prepare`, given as "module:function", is called with some arguments and returns the work.

    The process has the requested number of virtual devices on the CPU. By the time this object exists, the process has
    started, imported, and done the work once, which compiles it.

    Raises:
        ConfigurationError: the process ended before that.
    """

    def __init__(self, prepare: str, arguments: Mapping[str, str | int], devices: int) -> None:
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}".strip()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.harness.device_process", prepare, json.dumps(dict(arguments))],
            env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer("did not start")

    def run(self) -> list[float]:
        """Do the work once, and return the numbers that it returns."""
        assert self._process.stdin is not None
        self._process.stdin.write(GO)
        self._process.stdin.flush()
        return self._answer("ended while working")

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(timeout=60)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _answer(self, problem: str) -> list[float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ConfigurationError(f"a process with another number of devices {problem}; its own error is above")
        return [float(value) for value in json.loads(line)]


def serve(work: Callable[[], list[float]]) -> None:
    """Do the work once, then once more for each line on standard input; answer each time with what it returns."""
    print(json.dumps(work()), flush=True)
    for _ in sys.stdin:
        print(json.dumps(work()), flush=True)


if __name__ == "__main__":
    import importlib

    module, _, function = sys.argv[1].partition(":")
    serve(getattr(importlib.import_module(module), function)(**json.loads(sys.argv[2])))
