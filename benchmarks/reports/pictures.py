"""Pictures of the throughput against the batch size."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.reports.table import title
from mathdnn_jax.errors import MissingDependencyError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BATCH = re.compile(r"batch ([\d,]+)")
Curves = dict[str, list[tuple[int, float]]]
"""The points (batch size, items per second) of each contender, sorted by batch size."""
COLOURS = ("#2a6f97", "#e07a1f", "#5b8e3e", "#8a4f9e", "#b23a48", "#777777")


def throughput(results: Mapping[str, Any]) -> dict[tuple[str, str, str], tuple[str, Curves]]:
    """Return unit and curves of each (workload, backend, precision) that was run with two or more batch sizes."""
    found: dict[tuple[str, str, str], tuple[str, Curves]] = {}
    for row in results["rows"]:
        size = BATCH.fullmatch(row["case"] or "")
        if size is None or "error" in row:
            continue
        key = (row["workload"], row["backend"], row["precision"])
        _, curves = found.setdefault(key, (row["unit"], {}))
        for name, figures in row["contenders"].items():
            if figures["kind"] != "other":
                batch = int(size[1].replace(",", ""))
                curves.setdefault(title(row, name), []).append((batch, figures["items_per_s"]))
    return {
        key: (unit, {name: sorted(points) for name, points in curves.items()})
        for key, (unit, curves) in found.items()
        if len(curves["JAX"]) > 1
    }


def throughput_figure(heading: str, unit: str, curves: Curves) -> Figure:
    """Draw a line for each contender, on logarithmic axes.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingDependencyError('pictures need matplotlib: pip install "mathdnn_jax[plots]"') from error
    figure = Figure(figsize=(7.0, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for k, (name, points) in enumerate(curves.items()):
        batches, rates = zip(*points, strict=True)
        axes.plot(batches, rates, marker="o", label=name, color=COLOURS[k % len(COLOURS)])
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("batch")
    axes.set_ylabel(f"{unit} per second")
    axes.set_title(heading)
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    return figure


def throughput_figures(pages: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """Draw each workload, backend and precision that was run with several batch sizes; return figures by file name."""
    figures = {}
    for results in pages:
        machine = results["machine"]
        for (workload, backend, precision), (unit, curves) in throughput(results).items():
            device = machine["device"] if backend == "gpu" else machine["cpu"]
            heading = f"{workload}, {precision}, {device}, {machine['measured'][:10]}"
            figures[f"{workload}-{backend}-{precision}.png"] = throughput_figure(heading, unit, curves)
    return figures
