"""`python -m benchmarks`: the parser, and what an error looks like to a person."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import benchmarks
from benchmarks.commands import run_checker, run_compare, run_list, run_profile, run_report, run_train, run_workloads
from benchmarks.gpu.command import as_arguments
from mathdnn_jax.errors import MathdnnError

BAD_INPUT = 2
INTERRUPTED = 130
PRECISIONS = ("f32", "tf32", "bf16")


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=benchmarks.__doc__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_workloads(commands)
    as_arguments(commands)
    summary = "The bijector checker against maps of other libraries and against wrong ones; a table in Markdown."
    checker = commands.add_parser("checker", help=summary, description=summary)
    checker.add_argument("--output", "-o", metavar="FILE", help="write the page to a file as well")
    checker.set_defaults(run=run_checker)
    summary = (
        "Steps of training: mathdnn_jax.training.fit beside a Python loop over a jitted step, and PyTorch eager; "
        "compile time, memory, and fit on several devices."
    )
    train = commands.add_parser("train", help=summary, description=summary)
    train.add_argument("--workload", nargs="+", choices=("autoencoder", "nice"), default=["autoencoder", "nice"])
    train.add_argument("--batch", type=int, nargs="+", help="batch sizes (default: some around the seeds' own)")
    train.add_argument("--steps", type=int, default=20, help="steps of a run (default: 20)")
    train.add_argument("--repeat", type=int, default=5, help="interleaved triples (default: 5)")
    devices = "fit on so many virtual devices of the processor, each in a process of its own (default: 1 2 4)"
    train.add_argument("--devices", type=int, nargs="*", default=[1, 2, 4], help=devices)
    train.add_argument("--output", "-o", metavar="FILE", help="write the figures as JSON")
    train.set_defaults(run=run_train)
    return parser


def _add_workloads(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    summary = "The workloads, by name."
    listing = commands.add_parser("list", help=summary, description=summary)
    listing.set_defaults(run=run_list)
    summary = "Time workloads, all unless named: outputs compared first, then JAX, PyTorch's ways and others in turn."
    run = commands.add_parser("run", help=summary, description=summary)
    run.add_argument("names", nargs="*", metavar="NAME", help="as `list` has them (default: all)")
    run.add_argument("--backend", choices=("cpu", "gpu"), help="where both frameworks compute (default: JAX's choice)")
    run.add_argument("--precision", nargs="+", choices=PRECISIONS, default=["f32"], help="one or more (default: f32)")
    run.add_argument("--batch", type=int, nargs="+", help="batch sizes (default: each workload's own)")
    run.add_argument("--repeat", type=int, default=7, help="interleaved samples of each contender (default: 7)")
    run.add_argument("--quick", action="store_true", help="tiny cases: whether all runs, not how fast")
    run.add_argument("--no-compile", action="store_true", help="leave torch.compile out of PyTorch's baselines")
    memory = "let malloc give freed memory back to the system after each call (default: kept, for both frameworks)"
    run.add_argument("--give-memory-back", action="store_true", help=memory)
    run.add_argument("--checkpoint", help="weights of a NICE for its workloads (default: drawn with a fixed seed)")
    run.add_argument("--output", "-o", metavar="FILE", help="write the results as JSON, after each workload")
    run.set_defaults(run=run_workloads)
    summary = (
        "Where the time of a workload's cases goes, operation by operation, in JAX and in the first of PyTorch's ways."
    )
    profile = commands.add_parser("profile", help=summary, description=summary)
    profile.add_argument("name", metavar="NAME", help="as `list` has them")
    profile.add_argument("--backend", choices=("cpu", "gpu"), help="where both frameworks compute")
    profile.add_argument("--precision", choices=PRECISIONS, default="f32", help="(default: f32)")
    profile.add_argument("--batch", type=int, nargs="+", help="batch sizes (default: the workload's own)")
    profile.add_argument("--rows", type=int, default=12, help="operations shown of each, the dearest first")
    profile.add_argument("--quick", action="store_true", help="tiny cases")
    profile.set_defaults(run=run_profile)
    summary = "Show results: a table, or a page of Markdown and pictures."
    report = commands.add_parser("report", help=summary, description=summary)
    report.add_argument("results", nargs="+", metavar="FILE", help="what `run -o` wrote")
    report.add_argument(
        "--output", "-o", metavar="PATH", help="a folder for the page and the pictures, or a .md, .txt or .png file"
    )
    into = (
        "pages that have a place for the tables of a GPU: lines <!-- begin gpu tables -->, <!-- begin gpu summary -->"
    )
    report.add_argument("--into", nargs="+", metavar="PAGE", help=into)
    report.set_defaults(run=run_report)
    summary = "What got slower between two runs beyond the spread of both; status 1 if anything did."
    compare = commands.add_parser("compare", help=summary, description=summary)
    compare.add_argument("old", help="what `run -o` wrote before")
    compare.add_argument("new", help="and now")
    compare.set_defaults(run=run_compare)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its status, 2 for an error that this library names, told in one message."""
    options = build_parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except MathdnnError as error:
        print(f"benchmarks: {type(error).__name__}: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("benchmarks: interrupted", file=sys.stderr)
        return INTERRUPTED
