"""`python -m benchmarks`: the parser, and the messages of errors."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

import benchmarks
from benchmarks.commands import (
    run_checker,
    run_compare,
    run_conventions,
    run_list,
    run_profile,
    run_report,
    run_train,
    run_workloads,
)
from benchmarks.gpu.command import add_command
from mathdnn_jax.errors import MathdnnError

BAD_INPUT = 2
INTERRUPTED = 130
PRECISIONS = ("f32", "tf32", "bf16")
BACKEND = "device of both frameworks (default: JAX's choice)"
NAME = "a name that `list` prints"

Commands = Any
"""The parsers of all commands, which argparse has no public type for."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    about = (benchmarks.__doc__ or "").partition("\n\nModules")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=about)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _command(commands, "list", run_list, "List the workloads.")
    _add_run(commands)
    _add_profile(commands)
    _add_reports(commands)
    add_command(commands)
    summary = "Try the bijector checker on maps of other libraries and on wrong ones, and print a table in Markdown."
    checker = _command(commands, "checker", run_checker, summary)
    checker.add_argument("--output", "-o", metavar="FILE", help="also write the page to a file")
    summary = "Certify networks with one wrong convention each, and right ports, and print what is said, in Markdown."
    conventions = _command(commands, "conventions", run_conventions, summary)
    conventions.add_argument("--output", "-o", metavar="FILE", help="also write the page to a file")
    _add_train(commands)
    return parser


def _command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int], summary: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary)
    parser.set_defaults(run=run)
    return parser


def _add_run(commands: Commands) -> None:
    summary = "Time workloads: compare outputs first, then time JAX, PyTorch's ways and other contenders in turn."
    run = _command(commands, "run", run_workloads, summary)
    run.add_argument("names", nargs="*", metavar="NAME", help="names that `list` prints (default: all)")
    run.add_argument("--backend", choices=("cpu", "gpu"), help=BACKEND)
    run.add_argument("--precision", nargs="+", choices=PRECISIONS, default=["f32"], help="one or more (default: f32)")
    run.add_argument("--batch", type=int, nargs="+", help="batch sizes (default: each workload's own)")
    run.add_argument("--repeat", type=int, default=7, help="interleaved samples of each contender (default: 7)")
    run.add_argument("--quick", action="store_true", help="run tiny cases, to test that everything works")
    run.add_argument("--no-compile", action="store_true", help="leave torch.compile out of PyTorch's baselines")
    memory = "let malloc give freed memory back to the system after each call (default: both frameworks keep it)"
    run.add_argument("--give-memory-back", action="store_true", help=memory)
    run.add_argument("--checkpoint", help="weights for the NICE workloads (default: drawn with a fixed seed)")
    run.add_argument("--output", "-o", metavar="FILE", help="write the results as JSON after each workload")


def _add_profile(commands: Commands) -> None:
    summary = "Show where the time of a workload goes, operation by operation, in JAX and in PyTorch's first way."
    profile = _command(commands, "profile", run_profile, summary)
    profile.add_argument("name", metavar="NAME", help=NAME)
    profile.add_argument("--backend", choices=("cpu", "gpu"), help=BACKEND)
    profile.add_argument("--precision", choices=PRECISIONS, default="f32", help="(default: f32)")
    profile.add_argument("--batch", type=int, nargs="+", help="batch sizes (default: the workload's own)")
    rows = "number of operations to show of each framework, the most expensive first (default: 12)"
    profile.add_argument("--rows", type=int, default=12, help=rows)
    profile.add_argument("--quick", action="store_true", help="run tiny cases")


def _add_reports(commands: Commands) -> None:
    report = _command(commands, "report", run_report, "Show results as a table, or as a Markdown page with pictures.")
    report.add_argument("results", nargs="+", metavar="FILE", help="files written by `run -o`")
    paths = "a folder for the page and the pictures, or a .md, .txt or .png file"
    report.add_argument("--output", "-o", metavar="PATH", help=paths)
    into = (
        "pages to insert the tables of a GPU into, at the lines <!-- begin gpu tables --> or <!-- begin gpu summary -->"
    )
    report.add_argument("--into", nargs="+", metavar="PAGE", help=into)
    summary = "Show what got slower between two runs by more than the spread of both; the status is 1 if anything did."
    compare = _command(commands, "compare", run_compare, summary)
    compare.add_argument("old", help="the file that `run -o` wrote before")
    compare.add_argument("new", help="the file that `run -o` wrote now")


def _add_train(commands: Commands) -> None:
    summary = (
        "Time training steps: mathdnn_jax.training.fit beside a Python loop over a jitted step, and PyTorch eager; "
        "also compile time, memory, and fit on several devices."
    )
    train = _command(commands, "train", run_train, summary)
    train.add_argument("--workload", nargs="+", choices=("autoencoder", "nice"), default=["autoencoder", "nice"])
    train.add_argument("--batch", type=int, nargs="+", help="batch sizes (default: sizes around those of the course)")
    train.add_argument("--steps", type=int, default=20, help="steps in a run (default: 20)")
    train.add_argument("--repeat", type=int, default=5, help="interleaved samples of each contender (default: 5)")
    devices = "numbers of virtual devices on the CPU to run fit on, each in a new process (default: 1 2 4)"
    train.add_argument("--devices", type=int, nargs="*", default=[1, 2, 4], help=devices)
    train.add_argument("--output", "-o", metavar="FILE", help="write the figures as JSON")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its status, which is 2 for an error of this library; its message goes to stderr."""
    options = build_parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except MathdnnError as error:
        print(f"benchmarks: {type(error).__name__}: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("benchmarks: interrupted", file=sys.stderr)
        return INTERRUPTED
