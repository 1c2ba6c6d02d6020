"""The results file: always written as a whole, and checked when it is read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from benchmarks.errors import ResultsError
from mathdnn_jax.files import replace_file

FORMAT = 1
KEYS = {"format", "command", "machine", "threads", "limits", "rows"}


def write_results(path: str | os.PathLike[str], results: dict[str, Any]) -> None:
    """Replace the file by these results, either completely or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    with replace_file(path) as temporary:
        temporary.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_results(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the results of a run.

    Raises:
        ResultsError: there is no such file, or `python -m benchmarks run -o` did not write it.
    """
    try:
        results = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultsError(f"cannot read results from {path}: {error}") from error
    if not isinstance(results, dict) or KEYS - results.keys() or results["format"] != FORMAT:
        raise ResultsError(
            f"{path} does not hold results of format {FORMAT}: give a file that python -m benchmarks run -o has written"
        )
    return results


def key_of(row: dict[str, Any]) -> tuple[str, str, str, str]:
    """Return what identifies a row among the rows of a run: workload, case, backend, precision."""
    return row["workload"], row["case"] or "", row["backend"], row["precision"]
