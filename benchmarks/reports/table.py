"""Results as plain text."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from benchmarks.harness.targets import BEST, LIMIT, falls_short, slower_than_best
from benchmarks.harness.timing import DISTURBED

KIND_UNITS = {"matmul": "GFLOP/s", "convolution": "GFLOP/s", "memory": "GB/s"}
MEMORY = {
    True: "freed memory is kept for the next call, in both frameworks",
    False: "malloc decides which freed memory is given back to the system",
}
NAMES = {"jax": "JAX", "torch": "PyTorch"}


def results_table(results: Mapping[str, Any]) -> str:
    """Return a line for each contender of each row, with missed targets and their reasons; then the circumstances."""
    lines = [
        f"{'workload':<20} {'case':<33} {'':<10}{'JAX s':>10}{'a second':>19}{'first s':>9}{'of limit':>9}"
        f"  time over JAX's: median [least - greatest]"
    ]
    for row in results["rows"]:
        lines += _failure(row) if "error" in row else _lines(row)
    return "\n".join([*lines, "", *circumstances(results)])


def title(row: Mapping[str, Any], name: str) -> str:
    """Return the name of a contender for a reader."""
    kind = row["contenders"][name]["kind"]
    return {"jax": "JAX", "torch": f"PyTorch {name}"}.get(kind, name)


def spread_text(ratio: Mapping[str, float]) -> str:
    """Format a ratio as median [least - greatest]."""
    return f"{ratio['median']:.3g} [{ratio['least']:.3g} - {ratio['greatest']:.3g}]"


def rate_text(rate: float) -> str:
    """Format a rate: as a whole number from a hundred on, with three digits below."""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def share_text(share: float | None) -> str:
    """Format a share of the limit in per cent; empty if the work is not counted."""
    return "" if share is None else f"{share:.0%}"


def remarks(row: Mapping[str, Any]) -> list[str]:
    """Return the remarks on a row: missed targets, slower than PyTorch, the reason; disturbed; what could not run."""
    said = []
    for name, target in row["targets"].items():
        if target["met"] is False:
            aim, reached = target["aim"], target["reached"]
            against = {BEST: "PyTorch's best", LIMIT: "the limit"}.get(name, name)
            figures = f"{reached:.0%} of {aim:.0%}" if name == LIMIT else f"{reached:.2f} of {aim:g}"
            said.append(f"target missed against {against}: {figures}")
        elif target["met"] is None:
            said.append(f"target against {name} not measured")
    if slower_than_best(row):
        said.append(f"slower than PyTorch {row['best']}")
    if row["why"] and falls_short(row):
        said.append(f"why: {row['why']}")
    if row["disturbed"]:
        said.append(f"DISTURBED: times spread by more than {DISTURBED:g} x")
    said += [f"{name} did not run: {reason}" for name, reason in row["unable"].items()]
    return said


def circumstances(results: Mapping[str, Any]) -> list[str]:
    """Return a line each on limits, machine, threads, precisions, versions, settings, date and command."""
    machine, threads = results["machine"], results["threads"]
    if machine is None:
        return [f"nothing was measured: {results['command']}"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    settings = ", ".join(f"{name}={value}" for name, value in machine["environment"].items())
    imports = results["imports_s"]
    lines = [
        f"limits     {precision}: {limit_text(rates)}" for precision, rates in results["limits"].items()
    ]  # fmt: skip
    lines += [
        f"precision  {precision}: {how['dtype']}, matmul {how['jax_matmul']} in JAX, {how['torch_matmul']} in PyTorch"
        for precision, how in results["precisions"].items()
    ]
    return [
        *lines,
        f"machine    {machine['cpu']}, {machine['cores']} cores, {machine['os']}",
        f"device     JAX {machine['backend']} ({machine['device']}), PyTorch {results['torch']['device']}; "
        f"threads {threads['jax']} and {threads['torch']}",
        f"versions   {versions}",
        f"settings   {settings or 'none of the environment variables that influence the figures is set'}",
        f"memory     {MEMORY[results.get('memory_kept', False)]}",
        *([f"imports    {', '.join(f'{name} {_known(value)}' for name, value in imports.items())}"] if imports else []),
        f"agreement  {results['agreement']}",
        f"measured   {machine['measured']}, {results['repeat']} interleaved samples: {results['command']}",
    ]


def limit_text(rates: Mapping[str, Any]) -> str:
    """Format the rate of each kind in either framework."""
    parts = []
    for kind, unit in KIND_UNITS.items():
        each = ", ".join(f"{title} {rates[name][kind] / 1e9:,.4g}" for name, title in NAMES.items())
        parts.append(f"{kind} {each} {unit}")
    return "; ".join(parts)


def training_table(figures: list[dict[str, Any]]) -> str:
    """Return the figures of `train` as text, with a row for each workload and batch size."""
    names = {"fit": "fit", "loop": "a jitted step", "torch": "PyTorch"}
    lines = [
        "Adam steps per second, float32, and the others' time over that of fit: median [least - greatest]",
        f"{'workload':<12}{'batch':>6}" + "".join(f"{title:>15}" for title in names.values())
        + f"{'step/fit':>22}{'PyTorch/fit':>22}{'compilation':>13}{'memory':>12}",
    ]  # fmt: skip
    for result in figures:
        row = f"{result['workload']:<12}{result['batch']:>6}"
        row += "".join(f"{result['steps_per_s'][name]:>15,.1f}" for name in names)
        for name in ("loop_over_fit", "torch_over_fit"):
            ratio = result[name]
            row += f"{ratio['median']:>8.2f} [{ratio['least']:.2f} - {ratio['greatest']:.2f}]".rjust(22)
        lines.append(row + f"{result['compile_s']['fit']:>11.2f} s")
        for count, alone in result["alone"].items():
            rate = result["steps"] / statistics.median(alone["seconds"])
            memory = "" if alone["memory_bytes"] is None else f"{alone['memory_bytes'] / 2**20:,.0f} MiB"
            lines.append(f"{'':<18}{rate:>15,.1f}  alone, on {count} of the processor's virtual devices{memory:>53}")
    machine = figures[0]["machine"]
    return "\n".join(
        [*lines, f"{machine['cpu']}, {machine['cores']} cores, {machine['backend']}; {machine['measured']}"]
    )


def _lines(row: Mapping[str, Any]) -> list[str]:
    jax = row["contenders"]["jax"]
    where = f"{row['backend']} {row['precision']}"
    head = (
        f"{row['workload']:<20} {row['case']:<33} {where:<10}{jax['median_s']:>10.3g}"
        f" {rate_text(jax['items_per_s']):>10} {row['unit']:<7}{jax['first_call_s']:>9.3g}{share_text(jax['share']):>9}"
    )
    lines = []
    for name, figures in row["contenders"].items():
        if name != "jax":
            mark = " *" if name == row["best"] else ""
            lines.append(f"  {spread_text(figures['ratio'])} {title(row, name)}{mark}")
    lines = [head + (lines[0] if lines else ""), *(" " * len(head) + line for line in lines[1:])]
    return [*lines, *(f"{'':<21}{remark}" for remark in remarks(row))]


def _failure(row: Mapping[str, Any]) -> list[str]:
    return [f"{row['workload']:<20} {row['case'] or '':<33} {row['backend']} {row['precision']} FAILED: {row['error']}"]


def _known(value: float | None) -> str:
    return "fails" if value is None else f"{value:.2f} s"
