"""What `certify` said of the planted mistakes and of the right ports, as a page of Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmarks.conventions.run import Row
from benchmarks.reports.markdown import table

INTRODUCTION = """# Wrong conventions, and what a certificate says of them

`python -m benchmarks conventions -o docs/conventions.md` made this page. Each row of the first table is a PyTorch
network beside a Flax network with one wrong convention, wherever the network has it, with weights that
`parity.infer_rules` and `parity.convert` carried over. `parity.certify` says at which place they depart, and which
convention of JAX's explains it. *one of several*: the right convention is named beside others that are the same
function on these inputs. *none*: nothing was said. *NO*: something wrong was said; there must be none of these.

A convention is named only if PyTorch's own float64 network, run again with that convention, agrees with JAX's at the
place of departure, within the bound that every certificate has. What cannot be seen in a run in eval mode is not looked
for: the momentum of a batch norm (0.1 in PyTorch is 0.9 in Flax) changes the running statistics in training alone, and
a certificate of trained weights is the same for any. The same holds for the rate of dropout.

A network in bfloat16 is certified by its weights: they are taken to float32, which represents them exactly, and the
networks are compared in float32 and float64 as always. Its arithmetic in bfloat16 is not certified: that rounding is
greater than most mistakes, and PyTorch and JAX round at different places."""
HEAD = ("planted", "place", "place said", "right?", "convention", "convention said", "right?", "what it says", "s")
RIGHT_HEAD = ("right port", "said", "passes?", "s")


def conventions_page(rows: Sequence[Row], machine: dict[str, Any]) -> str:
    """Return the page: the counts, both tables, and the circumstances of the run."""
    planted, right = [row for row in rows if row.place], [row for row in rows if not row.place]
    alarms = sum(row.place_right != "yes" for row in right)
    lines = [
        INTRODUCTION,
        "",
        f"Of {len(planted)} planted mistakes, the place: {_counts(row.place_right for row in planted)}; the cause: "
        f"{_counts(row.cause_right for row in planted)}. Of {len(right)} right ports, {alarms} raised a false alarm.",
        "",
        *table(HEAD, map(_cells, planted)),
        "",
        *table(RIGHT_HEAD, [(row.name, row.said, row.place_right, f"{row.seconds:.1f}") for row in right]),
    ]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    measured = f"{machine['cpu']}, {machine['cores']} cores, {machine['backend']}; {versions}; {machine['measured']}"
    return "\n".join([*lines, "", f"Measured on {measured}. The seconds include compilation and the search.", ""])


def is_wrong(row: Row) -> bool:
    """Return whether something wrong was said, or a place was not found."""
    return row.place_right != "yes" or row.cause_right == "NO"


def _counts(verdicts: Any) -> str:
    counted = Counter(verdicts)
    return ", ".join(f"{count} {verdict}" for verdict, count in sorted(counted.items(), key=lambda item: -item[1]))


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.name, row.place, row.place_said, row.place_right, row.convention, row.said, row.cause_right, row.text,
        f"{row.seconds:.1f}",
    )  # fmt: skip
