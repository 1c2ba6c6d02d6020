"""Work in a process of its own that has another number of devices, started once and told when to go."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping

from mathdnn_jax.errors import ConfigurationError

GO = "go\n"


class Worker:
    """A process in which `prepare`, as "module:function", was called with some arguments and returned a work.

    The process has as many virtual devices of the processor as are asked for. Its start, its imports and a first call
    of the work, in which it compiles, are over when this object is there.

    Raises:
        ConfigurationError: the process ended before that.
    """

    def __init__(self, prepare: str, arguments: Mapping[str, str | int], devices: int) -> None:
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}".strip()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.harness.worker", prepare, json.dumps(dict(arguments))],
            env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer("it did not start")

    def run(self) -> list[float]:
        """Do the work once, and return the numbers that it returned."""
        assert self._process.stdin is not None
        self._process.stdin.write(GO)
        self._process.stdin.flush()
        return self._answer("it ended in the middle")

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
            raise ConfigurationError(f"a process of the benchmark with other devices: {problem}; see its error above")
        return [float(value) for value in json.loads(line)]


def serve(work: Callable[[], list[float]]) -> None:
    """Do the work once, then again at each line on the standard input, answering each time with what it returned."""
    print(json.dumps(work()), flush=True)
    for _ in sys.stdin:
        print(json.dumps(work()), flush=True)


if __name__ == "__main__":
    import importlib

    module, _, function = sys.argv[1].partition(":")
    serve(getattr(importlib.import_module(module), function)(**json.loads(sys.argv[2])))
