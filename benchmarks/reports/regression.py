"""Comparison of two runs: which rows got slower by more than their noise."""

from __future__ import annotations

from typing import Any, NamedTuple

from benchmarks.harness.results import key_of


class Change(NamedTuple):
    """The change of one row between two runs.

    `verdict` is "slower" or "faster" if the ranges of JAX's times, from least to greatest, do not overlap, and "same"
    if they do. It is "fails" if the new run has an error and the old one had none, "still fails" if both have one, and
    "new" or "gone" if only one run has figures. Seconds are medians, and None if there are no figures.
    """

    key: tuple[str, str, str, str]
    old_s: float | None
    new_s: float | None
    verdict: str

    @property
    def is_worse(self) -> bool:
        """Whether the new run is worse in this row."""
        return self.verdict in ("slower", "fails")


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    """Return the change of each row, in the order of the old run; rows that only the new run has come last."""
    rows = {key_of(row): row for row in old["rows"]}
    others = {key_of(row): row for row in new["rows"]}
    # A workload that failed to prepare has a single row without a case, in place of all its rows.
    failed: set[tuple[str, ...]] = {(key[0], *key[2:]) for key, row in others.items() if "error" in row and not key[1]}
    return [_change(key, rows.get(key), others.get(key), failed) for key in (rows | others)]


def different_circumstances(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return a line for each circumstance, other than the library's speed, in which the runs differ."""
    lines = []
    for name in ("cpu", "cores", "device", "versions", "environment"):
        before, after = old["machine"].get(name), new["machine"].get(name)
        if before != after:
            lines.append(f"{name}: {before} before, {after} now")
    if old["threads"] != new["threads"]:
        lines.append(f"threads: {old['threads']} before, {new['threads']} now")
    before, after = (bool(run.get("memory_kept")) for run in (old, new))
    if before != after:
        lines.append(f"freed memory kept: {before} before, {after} now")
    return lines


def changes_table(found: list[Change], circumstances: list[str]) -> str:
    """Return the changes as text, starting with the rows that got worse."""
    lines = [f"{'workload':<22}{'case':<34}{'':<10}{'old s':>11}{'new s':>11}{'new/old':>9}  "]
    for change in sorted(found, key=lambda change: not change.is_worse):
        workload, case, backend, precision = change.key
        ratio = "" if change.old_s is None or change.new_s is None else f"{change.new_s / change.old_s:.2f}"
        lines.append(
            f"{workload:<22}{case:<34}{backend + ' ' + precision:<10}{_seconds(change.old_s):>11}"
            f"{_seconds(change.new_s):>11}{ratio:>9}  {change.verdict}"
        )
    worse = sum(change.is_worse for change in found)
    lines.append(f"{worse} of {len(found)} rows got worse: slower by more than the spread of both runs, or failing")
    return "\n".join([*lines, *(f"the runs differ in {line}" for line in circumstances)])


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _change(
    key: tuple[str, str, str, str],
    old: dict[str, Any] | None,
    new: dict[str, Any] | None,
    failed: set[tuple[str, ...]],
) -> Change:
    before, after = _times(old), _times(new)
    if before is None or after is None:
        verdict = "new" if after else "gone"
        if after is None and (new is not None or (key[0], *key[2:]) in failed):
            verdict = "fails" if before is not None or old is None else "still fails"
        return Change(key, before["median_s"] if before else None, after["median_s"] if after else None, verdict)
    verdict = "same"
    if after["least_s"] > before["greatest_s"]:
        verdict = "slower"
    elif after["greatest_s"] < before["least_s"]:
        verdict = "faster"
    return Change(key, before["median_s"], after["median_s"], verdict)


def _times(row: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if row is None or "error" in row else row["contenders"]["jax"]
