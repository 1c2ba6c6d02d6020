"""Results as a page of Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.reports.markdown import table
from benchmarks.reports.table import circumstances, rate_text, remarks, share_text, spread_text, title

INTRODUCTION = """Ratios are the other contenders' time over JAX's, median [least - greatest] of interleaved neighbours,
and above 1 if JAX is faster. PyTorch's best baseline is **bold**. "Of limit" is the share of JAX's time that the work's
FLOPs or bytes would take at the rate that the machine reached in the same run."""
HEAD = (
    "workload", "case", "precision", "JAX", "a second", "first call", "of limit", "times as long as JAX", "remarks"
)  # fmt: skip


def results_page(pages: Sequence[Mapping[str, Any]], pictures: Sequence[str] = ()) -> str:
    """Return a page with a section for each run, its rows in one table and its circumstances, and then the pictures."""
    lines = ["# JAX beside PyTorch", "", INTRODUCTION]
    for results in pages:
        machine = results["machine"]
        device = machine["device"] if machine["backend"] == "gpu" else machine["cpu"]
        lines += ["", f"## {device}, {machine['measured'][:10]}", "", *table(HEAD, map(_row, results["rows"]))]
        lines += ["", "```", *circumstances(results), "```"]
    lines += [text for name in pictures for text in ("", f"![{name}]({name})")]
    return "\n".join(lines) + "\n"


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    case = row["case"] or ""
    if "error" in row:
        return (row["workload"], case, row["precision"], *[""] * 5, f"FAILED: {row['error']}")
    jax = row["contenders"]["jax"]
    others = []
    for name, figures in row["contenders"].items():
        if name != "jax":
            text = f"{title(row, name)} {spread_text(figures['ratio'])}"
            others.append(f"**{text}**" if name == row["best"] else text)
    return (
        row["workload"],
        case,
        row["precision"],
        f"{jax['median_s']:.3g} s",
        f"{rate_text(jax['items_per_s'])} {row['unit']}",
        f"{jax['first_call_s']:.2g} s",
        share_text(jax["share"]),
        "; ".join(others),
        "; ".join(remarks(row)),
    )
