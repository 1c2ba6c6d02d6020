"""The verdicts on all maps as a page of Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmarks.checker.run import Row
from benchmarks.reports.markdown import table

INTRODUCTION = """# The checker on maps of other libraries

`python -m benchmarks checker -o docs/checker.md` made this page. It gives every map to
`mathdnn_jax.testing.check_bijector` with default settings. *passes*: the checker found nothing. *finding*: the library
means the map to be right, but it is not, as confirmed by hand. *caught*: the map is wrong on purpose, and a check that
is about its mistake found it. Whatever float64 finds wrong or cannot decide is decided in high precision, provided that
high precision supports the operations of the map. ACCUSED (a right map that failed) and MISSED (a wrong map that
passed) are defects of the checker, and there must be none."""
HEAD = ("library", "version", "bijector", "verdict", "what was found", "processor s")


def checker_page(rows: Sequence[Row], machine: dict[str, Any]) -> str:
    """Return the page: the counts of verdicts, the table, and the circumstances of the run."""
    verdicts = Counter(row.verdict for row in rows)
    amount = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    lines = [INTRODUCTION, "", f"In all: {amount}.", "", *table(HEAD, map(_cells, rows))]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    measured = f"{machine['cpu']}, {machine['cores']} cores, {machine['backend']}; {versions}; {machine['measured']}"
    return "\n".join([*lines, "", f"Measured on {measured}. Most of the time is compilation.", ""])


def _cells(row: Row) -> tuple[str, ...]:
    seconds = "" if row.seconds is None else f"{row.seconds:.1f}"
    return row.library, row.version, row.name, row.verdict, row.found, seconds
