"""The results of a run on a GPU as tables, for the terminal and for pages of Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from benchmarks.harness.targets import LIMIT
from benchmarks.reports.markdown import table
from benchmarks.reports.table import circumstances, rate_text, remarks, share_text, spread_text, title
from benchmarks.workloads.gpu_targets import TARGETS, Target

Results = Mapping[str, Any]
KINDS = {"matmul": ("product", 1e12, "TFLOP/s"), "convolution": ("convolution", 1e12, "TFLOP/s"),
         "memory": ("copy", 1e9, "GB/s")}  # fmt: skip
SHOWN = 6
"""Number of operations shown of each profile."""


def summary(results: Results) -> str:
    """Return a few lines for the terminal: the outcomes of the steps, the targets, and counts of what was compared."""
    steps = Counter(step["status"] for step in results["gpu"]["steps"].values())
    lines = [f"{device_of(results)}: " + ", ".join(f"{count} steps {status}" for status, count in steps.items())]
    lines += [" ".join(cells) for cells in _targets(results)]
    return "\n".join([*lines, *_counts(results)])


def tables(results: Results) -> str:
    """Return a section of Markdown: ceilings, targets, rows, counts of what was compared, profiles, steps not done."""
    lines = [f"## {device_of(results)}", ""]
    if results["limits"]:
        lines += ["What the card reaches, JAX | PyTorch:", "", *_ceilings(results), ""]
    lines += ["Targets:", "", *table(("work", "against", "aim", "reached", ""), _targets(results)), ""]
    if results["rows"]:
        head = (
            "work",
            "case",
            "precision",
            "JAX",
            "a second",
            "of the ceiling",
            "compilation",
            "others / JAX",
            "remarks",
        )
        lines += [
            "All rows, with the time of the others over JAX's:",
            "",
            *table(head, map(_row, results["rows"])),
            "",
        ]
    lines += [*(f"- {line}" for line in _counts(results)), ""]
    lines += _profiles(results)
    left = [(name, step["status"], step["reason"] or "") for name, step in results["gpu"]["steps"].items()]
    left = [(name, status, reason.splitlines()[0]) for name, status, reason in left if status != "done"]
    if left:
        lines += ["Not done:", "", *table(("step", "", "why"), left), ""]
    if results["machine"] is not None:
        lines += ["```", *circumstances(results), f"card       {_card(results)}", "```", ""]
    return "\n".join(lines)


def short_table(results: Results) -> str:
    """Return a short table of the rows with targets: JAX's rate, the ratios to PyTorch, the share of the ceiling."""
    named = {(target.workload, target.case): target.said for target in TARGETS}
    rows = []
    for row in results["rows"]:
        said = named.get((row["workload"], row["case"]))
        if said is None or "error" in row or row["precision"] != "f32":
            continue
        jax = row["contenders"]["jax"]
        others = [f"{name} {row['contenders'][name]['ratio']['median']:.3g}" for name in _against(row)]
        rate = f"{rate_text(jax['items_per_s'])} {row['unit']}/s"
        rows.append((said, rate, "; ".join(others), share_text(jax["share"])))
    head = ("work", "JAX", "time of PyTorch's ways over JAX's", "of the ceiling")
    return "\n".join([f"{device_of(results)}, float32:", "", *table(head, rows)])


def device_of(results: Results) -> str:
    """Return the card and the date of a run."""
    machine = results["machine"]
    return "an unknown device" if machine is None else f"{machine['device']}, {machine['measured'][:10]}"


def targets_of(target: Target, results: Results | None) -> tuple[str, ...]:
    """Return the cells of a target: work, contender, aim, the figure reached, and whether the target is met."""
    share = target.against == LIMIT
    against = "the measured ceiling" if share else target.against
    aim = f"{target.aim:.0%}" if share else f"{target.aim:g} ×"
    found = None if results is None else _reached(target, results)
    if found is None:
        return target.said, against, aim, "not measured", ""
    reached = f"{found['reached']:.0%}" if share else f"{found['reached']:.3g} ×"
    return target.said, against, aim, reached, "met" if found["met"] else "missed"


def _targets(results: Results) -> list[tuple[str, ...]]:
    return [targets_of(target, results) for target in TARGETS]


def _reached(target: Target, results: Results) -> Mapping[str, Any] | None:
    for row in results["rows"]:
        if (row["workload"], row["case"], row["precision"]) == (target.workload, target.case, "f32"):
            found: Mapping[str, Any] | None = row.get("targets", {}).get(target.against)
            return None if found is None or found["met"] is None else found
    return None


def _ceilings(results: Results) -> list[str]:
    rows = []
    for precision, rates in results["limits"].items():
        cells = [
            f"{rates['jax'][kind] / unit:,.4g} | {rates['torch'][kind] / unit:,.4g}"
            for kind, (_, unit, _) in KINDS.items()
        ]
        rows.append((precision, *cells))
    return table(("precision", *(f"{name}, {unit}" for name, _, unit in KINDS.values())), rows)


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    about = row["workload"], row["case"] or "", row["precision"]
    if "error" in row:
        return (*about, "", "", "", "", "", f"FAILED: {row['error'].splitlines()[0]}")
    jax = row["contenders"]["jax"]
    compiling = max(jax["first_call_s"] - jax["median_s"], 0)
    others = [f"{title(row, name)} {spread_text(row['contenders'][name]['ratio'])}" for name in _against(row)]
    return (
        *about,
        f"{jax['median_s']:.3g} s",
        f"{rate_text(jax['items_per_s'])} {row['unit']}",
        share_text(jax["share"]),
        f"{compiling:.2g} s",
        "; ".join(others),
        "; ".join(remarks(row)),
    )


def _against(row: Mapping[str, Any]) -> list[str]:
    return [name for name in row["contenders"] if name != "jax"]


def _counts(results: Results) -> list[str]:
    """Count what was certified, compared and decided, and the values that were compared."""
    gpu, lines = results["gpu"], []
    certificates, identities, claims = gpu["certificates"], gpu["identities"], gpu["claims"]
    if certificates:
        values = sum(entry.get("values", 0) for entry in certificates)
        layers = sum(entry.get("layers", 0) for entry in certificates)
        passed = sum(entry["passed"] for entry in certificates)
        looser = sum(entry["passed"] and not entry.get("strict", True) for entry in certificates)
        by = f"; {looser} of them by the rule for sums in another order" if looser else ""
        passing = f"{passed} of {len(certificates)} networks pass"
        lines.append(f"certificates: {passing}, in {layers} layers and {values:,} numbers{by}")
    if identities:
        for precision in dict.fromkeys(entry["precision"] for entry in identities):
            some = [entry for entry in identities if entry["precision"] == precision]
            shares = [entry["rms_error"] / entry["bound"] for entry in some if entry["rms_error"] and entry["bound"]]
            holding, values = sum(entry["passed"] for entry in some), sum(entry["values"] for entry in some)
            lines.append(
                f"identities in {precision}: {holding} of {len(some)} hold, on {values:,} numbers; the closest is at "
                f"{max(shares, default=0.0):.0%} of its bound"
            )
    if claims:
        count = gpu.get("count_of_claims")
        of = "" if count is None else f" (there are {count['there_are']})"
        lines.append(f"claims: {sum(entry['passed'] for entry in claims)} of {len(claims)} hold as stated{of}")
    if left_out := [f"{entry['workload']} {entry['case']}" for entry in gpu.get("left_out", [])]:
        lines.append(f"left out for lack of time: {', '.join(left_out)}")
    wrong = [
        f"{entry['of']} in {entry['precision']}: {entry['identity']}" for entry in identities if not entry["passed"]
    ]
    wrong += [f"certificate of {entry['model']}" for entry in certificates if not entry["passed"]]
    wrong += [f"claim {entry['id']}" for entry in claims if not entry["passed"]]
    return [*lines, *(f"DOES NOT HOLD: {name}" for name in wrong)]


def _profiles(results: Results) -> list[str]:
    rows: list[tuple[str, ...]] = []
    for profile in results["gpu"]["profiles"]:
        about = profile["workload"], profile["case"], profile["precision"]
        if "error" in profile:
            rows.append((*about, "", "", "", f"not profiled: {profile['error']}"))
            continue
        total = sum(cost["seconds"] for cost in profile["costs"]) or 1.0
        for cost in profile["costs"][:SHOWN]:
            spent = f"{1e3 * cost['seconds']:.3g} ms, {cost['seconds'] / total:.0%}"
            rows.append((*about, profile["of"], spent, f"{cost['times']} ×", cost["operation"][:100]))
    head = ("work", "case", "precision", "by", "time", "ran", "operation")
    return ["Where the time goes in rows that fall short:", "", *table(head, rows), ""] if rows else []


def _card(results: Results) -> str:
    card = results.get("card")
    return "nvidia-smi did not answer" if card is None else ", ".join(f"{k} {v}" for k, v in card.items())
