"""The zoo's verdicts as a page of Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmarks.checker.run import Row

INTRODUCTION = """# The checker against maps that nobody here wrote

Made by `python -m benchmarks checker -o docs/checker.md`. Every map is given to `mathdnn_jax.testing.check_bijector`
with its default settings; the rows say what it found. *passes*: nothing; *finding*: a map that its library means to be
right and that is not, looked into by hand; *caught*: wrong on purpose, and found so by a check that is about the
mistake. What float64 finds wrong, or cannot decide, is decided in high precision, wherever that can follow the map's
program. ACCUSED (right, but failed) and MISSED (wrong, but passed) are defects of the checker; there must be none."""


def checker_page(rows: Sequence[Row], machine: dict[str, Any]) -> str:
    """The table, what it amounts to, and what it was made with."""
    verdicts = Counter(row.verdict for row in rows)
    amount = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    lines = [INTRODUCTION, "", f"In all: {amount}.", ""]
    lines += [
        "| library | version | bijector | verdict | what was found | processor s |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        seconds = "" if row.seconds is None else f"{row.seconds:.1f}"
        cells = (row.library, row.version, row.name, row.verdict, row.found, seconds)
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    measured = f"{machine['cpu']}, {machine['cores']} cores, {machine['backend']}; {versions}; {machine['measured']}"
    return "\n".join([*lines, "", f"Measured on {measured}. Most of the time is compilation.", ""])
