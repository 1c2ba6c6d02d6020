"""The commands; PyTorch is imported only by those that run it."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.harness.results import read_results, write_results
from benchmarks.progress import say
from mathdnn_jax.errors import ConfigurationError, MissingDependencyError
from mathdnn_jax.files import check_writable, replace_file
from mathdnn_jax.memory import keep_freed_memory


def run_list(options: argparse.Namespace) -> int:
    """Run `python -m benchmarks list`."""
    del options
    from benchmarks.workloads import MODULES, summary_of

    with _needing_torch():
        from benchmarks.frameworks import on_torch  # noqa: F401 (without it, every summary would be an error)
    for name in MODULES:
        print(f"{name:<22}{summary_of(name)}")
    return 0


def run_workloads(options: argparse.Namespace) -> int:
    """Run `python -m benchmarks run`; return 1 if any row failed."""
    target = check_writable(options.output) if options.output else None
    with _needing_torch():
        from benchmarks.case import Settings
        from benchmarks.frameworks import on_jax
        from benchmarks.frameworks.cuda import MODES
        from benchmarks.reports.table import results_table
        from benchmarks.run import Options, failed, run
        from benchmarks.workloads import check_names

    names = check_names(options.names)
    kept = not options.give_memory_back and keep_freed_memory()
    on_jax.use_backend(options.backend)
    batches = tuple(dict.fromkeys(options.batch)) if options.batch else None
    modes = () if options.no_compile else MODES
    settings = Settings(batches, options.quick, modes, checkpoint=options.checkpoint)
    asked = Options(names, tuple(dict.fromkeys(options.precision)), options.repeat, settings, _command(options), kept)
    results: dict[str, Any] = {}
    for results in run(asked, say=say):
        if target is not None:
            write_results(target, results)
    print(results_table(results))
    return int(bool(failed(results)))


def run_profile(options: argparse.Namespace) -> int:
    """Run `python -m benchmarks profile`."""
    if options.rows < 1:
        raise ConfigurationError(f"given --rows {options.rows}, expected at least one row")
    with _needing_torch():
        from benchmarks.case import Settings
        from benchmarks.frameworks import on_jax, on_torch
        from benchmarks.frameworks.precision import precision_of_both
        from benchmarks.harness.profiling import profile_case, profile_table
        from benchmarks.run import check_batches
        from benchmarks.workloads import check_names, load_workload

    (name,) = check_names([options.name])
    keep_freed_memory()
    on_jax.use_backend(options.backend)
    workload = load_workload(name)
    if options.precision not in workload.precisions:
        raise ConfigurationError(f"given {options.precision}, but {name} supports {', '.join(workload.precisions)}")
    batches = tuple(dict.fromkeys(options.batch)) if options.batch else None
    check_batches(batches)
    settings = Settings(batches, options.quick, modes=(), precision=options.precision)
    with precision_of_both(options.precision), on_torch.thread_count(on_jax.threads()):
        for case in workload.cases(settings):
            print(f"{name}, {case.label}\n{profile_table(dict(profile_case(case)), options.rows)}", flush=True)
    return 0


def run_report(options: argparse.Namespace) -> int:
    """Run `python -m benchmarks report`."""
    from benchmarks.reports.page import results_page
    from benchmarks.reports.pictures import throughput_figures
    from benchmarks.reports.table import results_table

    pages = [read_results(path) for path in options.results]
    if options.into:
        return _into_pages(pages, options.into)
    text = "\n\n".join(results_table(results) for results in pages)
    if options.output is None:
        print(text)
        return 0
    target = Path(options.output)
    if target.suffix in (".md", ".txt"):
        _write(target, results_page(pages) if target.suffix == ".md" else text + "\n")
        return 0
    figures = throughput_figures(pages)
    if target.suffix == ".png":
        if len(figures) != 1:
            raise ConfigurationError(f"there are {len(figures)} pictures, and a file holds one: give a folder instead")
        figures = {target.name: next(iter(figures.values()))}
        target = target.parent
    else:
        target.mkdir(exist_ok=True)
        _write(target / "report.md", results_page(pages, list(figures)))
    for name, figure in figures.items():
        with replace_file(target / name) as temporary:
            figure.savefig(temporary, dpi=120)
    return 0


def _into_pages(pages: list[dict[str, Any]], paths: list[str]) -> int:
    from benchmarks.gpu.page import short_table, tables
    from benchmarks.reports.markdown import insert

    if wrong := [page["command"] for page in pages if "gpu" not in page]:
        raise ConfigurationError(f"given results of {wrong[0]}, expected those of python -m benchmarks gpu")
    texts = {"gpu tables": "\n".join(map(tables, pages)), "gpu summary": "\n\n".join(map(short_table, pages))}
    for path in paths:
        insert(Path(path), texts)
    return 0


def run_compare(options: argparse.Namespace) -> int:
    """Run `python -m benchmarks compare`; return 1 if anything got worse."""
    from benchmarks.reports.regression import changes, changes_table, different_circumstances

    old, new = read_results(options.old), read_results(options.new)
    found = changes(old, new)
    print(changes_table(found, different_circumstances(old, new)))
    return int(any(change.is_worse for change in found))


def run_train(options: argparse.Namespace) -> int:
    """Run `python -m benchmarks train`."""
    if options.steps < 1 or options.repeat < 1:
        raise ConfigurationError(
            f"given {options.steps} steps, {options.repeat} samples, expected at least one of each"
        )
    target = check_writable(options.output) if options.output else None
    with _needing_torch():
        from benchmarks.reports.table import training_table
        from benchmarks.train import BATCHES, figures_alone, training_figures

    figures: list[dict[str, Any]] = []
    sizes = {workload: options.batch or BATCHES[workload] for workload in options.workload}
    uneven = [(batch, n) for batches in sizes.values() for batch in batches for n in options.devices if batch % n]
    if uneven:
        raise ConfigurationError(f"given (batch, devices) {uneven}, but a batch is divided evenly among the devices")
    for workload, batches in sizes.items():
        for batch in batches:
            say(f"{workload}, batches of {batch}")
            figures.append(training_figures(workload, batch, options.steps, options.repeat))
            figures[-1]["alone"] = {
                count: figures_alone(workload, batch, options.steps, options.repeat, count) for count in options.devices
            }
    if target is not None:
        _write(target, json.dumps(figures, indent=2, allow_nan=False) + "\n")
    print(training_table(figures))
    return 0


def run_checker(options: argparse.Namespace) -> int:
    """Run `python -m benchmarks checker`; return 1 if the checker erred on any map."""
    from benchmarks.checker.run import run
    from benchmarks.checker.table import checker_page
    from benchmarks.harness.machine import describe_machine

    target = check_writable(options.output) if options.output else None
    rows = list(run(say=say))
    page = checker_page(rows, describe_machine())
    if target is not None:
        _write(target, page)
    print(page)
    return int(any(row.verdict in ("ACCUSED", "MISSED") for row in rows))


def run_conventions(options: argparse.Namespace) -> int:
    """Run `python -m benchmarks conventions`; return 1 if a certificate said anything wrong."""
    target = check_writable(options.output) if options.output else None
    with _needing_torch():
        from benchmarks.conventions.run import run
        from benchmarks.conventions.table import conventions_page, is_wrong
    from benchmarks.harness.machine import describe_machine

    rows = list(run(say=say))
    page = conventions_page(rows, describe_machine())
    if target is not None:
        _write(target, page)
    print(page)
    return int(any(map(is_wrong, rows)))


def _write(target: Path, text: str) -> None:
    with replace_file(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _command(options: argparse.Namespace) -> str:
    """Return the command line of the same run, without the output file."""
    words = ["python", "-m", "benchmarks", "run", *options.names]
    words += ["--backend", options.backend] if options.backend else []
    words += ["--precision", *options.precision]
    words += ["--batch", *map(str, options.batch)] if options.batch else []
    words += ["--repeat", str(options.repeat)]
    flags = ("quick", "no_compile", "give_memory_back")
    words += [f"--{flag.replace('_', '-')}" for flag in flags if getattr(options, flag)]
    words += ["--checkpoint", options.checkpoint] if options.checkpoint else []
    return shlex.join(words)


@contextmanager
def _needing_torch() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingDependencyError(
            'the benchmarks compare JAX with PyTorch: pip install torch, or in a clone pip install -e ".[bench]"'
        ) from error
