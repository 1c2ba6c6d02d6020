"""The command `python -m benchmarks gpu`."""

from __future__ import annotations

import argparse
import os
import shlex
import tempfile
from collections.abc import Mapping
from typing import Any

from benchmarks.gpu.findings import OVER, Findings
from benchmarks.gpu.page import summary
from benchmarks.gpu.plan import chosen, rehearsed
from benchmarks.gpu.supervise import supervise
from benchmarks.gpu.worker import Process
from benchmarks.harness.results import read_results, write_results
from benchmarks.progress import say
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.files import check_writable

FRACTION = "0.6"
"""The share of the card's memory that JAX reserves, leaving the rest to PyTorch."""


def run_gpu(options: argparse.Namespace) -> int:
    """Run the command; return 1 if anything failed, and 0 even if time ran out."""
    if not options.minutes > 0:
        raise ConfigurationError(f"given --minutes {options.minutes:g}, expected a positive number")
    target = check_writable(options.output)
    steps = chosen(options.only)
    before = read_results(options.resume) if options.resume else None
    if before is not None:
        if "gpu" not in before:
            raise ConfigurationError(f"cannot resume {options.resume}: `python -m benchmarks gpu` did not write it")
        over = {name for name, step in before["gpu"]["steps"].items() if step["status"] in OVER}
        steps = tuple(step for step in steps if step.id not in over)
    if options.dry_run:
        steps = tuple(map(rehearsed, steps))
    findings = Findings(_command(options), steps, lambda results: write_results(target, results), before)
    with tempfile.TemporaryDirectory(prefix="mathdnn-programs-") as programs:
        environment = _environment(programs, options.dry_run)

        def start(more: Mapping[str, str]) -> Process:
            return Process({**environment, **more}, rehearsal=options.dry_run)

        supervise(steps, findings, seconds=60 * options.minutes, start=start, say=say)
    print(summary(findings.results))
    failures = findings.failures()
    for line in failures:
        print(f"FAILED {line.splitlines()[0]}")
    return int(bool(failures))


def _environment(programs: str, rehearsal: bool) -> dict[str, str]:
    """Return the variables of the process that computes; memory and log level can be set in the environment.

    Compiled programs are kept in a folder of this run alone. So first calls do compile, and a process that replaces a
    crashed one finds what was compiled before.
    """
    wanted = {"XLA_PYTHON_CLIENT_MEM_FRACTION": FRACTION, "TF_CPP_MIN_LOG_LEVEL": "1"}
    found = {name: os.environ.get(name, value) for name, value in wanted.items()}
    found |= {
        "JAX_COMPILATION_CACHE_DIR": programs,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    if rehearsal:
        found |= {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "True", "OMP_NUM_THREADS": "1"}
    return found


def _command(options: argparse.Namespace) -> str:
    """Return the command line of the same run, without the output file."""
    words = ["python", "-m", "benchmarks", "gpu", "--minutes", f"{options.minutes:g}"]
    words += ["--dry-run"] if options.dry_run else []
    words += ["--only", *options.only] if options.only else []
    return shlex.join(words)


def add_command(commands: Any) -> None:
    """Add the command to the parser."""
    about = (
        "Measure all that is worth knowing about a GPU, the most valuable first, in one run that may be interrupted at "
        "any time: ceilings, certificates, workloads beside PyTorch, identities, claims, profiles."
    )
    parser = commands.add_parser("gpu", help=about, description=about)
    parser.add_argument("--minutes", type=float, default=8.0, metavar="N", help="time for the whole run (default: 8)")
    parser.add_argument("--dry-run", action="store_true", help="run every step on a CPU with tiny cases")
    parser.add_argument("--only", nargs="+", default=[], metavar="STEP", help="run these steps (default: all)")
    parser.add_argument("--resume", metavar="FILE", help="continue the run with these results")
    parser.add_argument(
        "--output",
        "-o",
        metavar="FILE",
        default="gpu.json",
        help="write the results here as they come in (default: gpu.json)",
    )
    parser.set_defaults(run=run_gpu)
