"""`python -m benchmarks`: the parser, and what an error looks like to a person."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import benchmarks
from benchmarks.table import nice_table, training_table
from mathdnn_jax.errors import ConfigurationError, MathdnnError, MissingDependencyError
from mathdnn_jax.files import check_writable, replace_file

BAD_INPUT = 2
INTERRUPTED = 130


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=benchmarks.__doc__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    summary = "NICE log p of images: jax.jit(flow.log_prob) beside the PyTorch twin."
    nice = commands.add_parser("nice", help=summary, description=summary)
    nice.add_argument("--images", type=int, default=10_000, help="how many images (default: 10000)")
    nice.add_argument("--batch", type=int, nargs="+", help="images at a time, one size or more (default: 1000)")
    nice.add_argument("--checkpoint", help="weights of a NICE (default: drawn with a fixed seed)")
    nice.add_argument("--repeat", type=int, default=7, help="interleaved pairs (default: 7)")
    nice.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    nice.add_argument("--output", "-o", metavar="FILE", help="write the JSON object to a file as well")
    nice.set_defaults(run=run_nice)
    summary = "The bijector checker against maps of other libraries and against wrong ones; a table in Markdown."
    checker = commands.add_parser("checker", help=summary, description=summary)
    checker.add_argument("--output", "-o", metavar="FILE", help="write the page to a file as well")
    checker.set_defaults(run=run_checker)
    summary = "Steps of training: mathdnn_jax.training.fit beside a Python loop over a jitted step, and PyTorch eager."
    train = commands.add_parser("train", help=summary, description=summary)
    train.add_argument("--workload", nargs="+", choices=("autoencoder", "nice"), default=["autoencoder", "nice"])
    train.add_argument("--batch", type=int, nargs="+", help="batch sizes (default: 100 and 128, the seeds' own)")
    train.add_argument("--steps", type=int, default=100, help="steps of a run (default: 100)")
    train.add_argument("--repeat", type=int, default=5, help="interleaved triples (default: 5)")
    train.add_argument("--devices", type=int, nargs="*", default=[], help="also fit alone, on so many virtual devices")
    train.add_argument("--output", "-o", metavar="FILE", help="write the figures as JSON")
    train.set_defaults(run=run_train)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns 0, or 2 for an error that this library names, told in one message on standard error."""
    options = build_parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except MathdnnError as error:
        print(f"benchmarks: {type(error).__name__}: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("benchmarks: interrupted", file=sys.stderr)
        return INTERRUPTED


def run_train(options: argparse.Namespace) -> int:
    """Do what `python -m benchmarks train` asks."""
    if options.steps < 1 or options.repeat < 1:
        raise ConfigurationError(f"at least one step and one repetition, given {options.steps}, {options.repeat}")
    target = check_writable(options.output) if options.output else None
    try:
        from benchmarks.training import BATCHES, measure
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingDependencyError(
            'a benchmark runs PyTorch beside JAX: pip install torch, in a clone pip install -e ".[bench]"'
        ) from error

    figures: list[dict[str, Any]] = []
    for workload in options.workload:
        for batch in options.batch or [BATCHES[workload]]:
            print(f"benchmarks: {workload}, batches of {batch}", file=sys.stderr, flush=True)
            figures.append(measure(workload, batch, options.steps, options.repeat))
            figures[-1]["devices"] = {
                count: on_virtual_devices(workload, batch, options.steps, options.repeat, count)
                for count in options.devices
            }
    if target is not None:
        with replace_file(target) as temporary:
            temporary.write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    print(training_table(figures))
    return 0


def on_virtual_devices(workload: str, batch: int, steps: int, repeat: int, devices: int) -> list[float]:
    """Seconds of `fit` in a process of its own, since the number of devices is settled when JAX starts."""
    call = f"seconds_of_fit({workload!r}, {batch}, {steps}, {repeat}, {devices})"
    done = subprocess.run(
        [sys.executable, "-c", f"from benchmarks.training import seconds_of_fit; print({call})"],
        env={**os.environ, "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ConfigurationError(f"no run on {devices} devices: {done.stderr.strip().splitlines()[-1]}")
    return [float(value) for value in json.loads(done.stdout)]


def run_nice(options: argparse.Namespace) -> int:
    """Do what `python -m benchmarks nice` asks."""
    target = check_writable(options.output) if options.output else None
    try:
        from benchmarks.nice import measure
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingDependencyError(
            'a benchmark runs PyTorch beside JAX: pip install torch, in a clone pip install -e ".[bench]"'
        ) from error

    figures = measure(
        images=options.images,
        batches=options.batch,
        repeat=options.repeat,
        checkpoint=options.checkpoint,
        say=lambda text: print(f"benchmarks: {text}", file=sys.stderr, flush=True),
    )
    text = json.dumps(figures, indent=2, allow_nan=False)
    if target is not None:
        with replace_file(target) as temporary:
            temporary.write_text(f"{text}\n", encoding="utf-8")
    print(text if options.json else nice_table(figures))
    return 0


def run_checker(options: argparse.Namespace) -> int:
    """Do what `python -m benchmarks checker` asks; returns 1 if the checker erred on a map."""
    from benchmarks.checker.run import run
    from benchmarks.checker.table import checker_page
    from benchmarks.machine import describe_machine

    target = check_writable(options.output) if options.output else None
    rows = list(run(say=lambda text: print(f"benchmarks: {text}", file=sys.stderr, flush=True)))
    page = checker_page(rows, describe_machine())
    if target is not None:
        with replace_file(target) as temporary:
            temporary.write_text(page, encoding="utf-8")
    print(page)
    return int(any(row.verdict in ("ACCUSED", "MISSED") for row in rows))
