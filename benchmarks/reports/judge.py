"""Rows beside the limits and the targets: floors, shares, what is met and what is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.harness.rates import Rates, machine_rates

LIMIT = "limit"
BEST = "best"


def judged(row: Mapping[str, Any], rates: Rates | None, targets: Mapping[str, float]) -> dict[str, Any]:
    """The row with what follows from the machine's limits, those of the better framework in each kind.

    - `floor_s`: the least seconds of one run, its FLOPs at the rate of its limit or its bytes at the rate of memory,
      whichever is more; None where neither is counted, or the limits were not measured;
    - `share` of each contender: the floor over its median time;
    - `targets`: for each, what is aimed at, what was reached, and whether it was `met`; what could not be measured
      here is neither.
    """
    rate = {} if rates is None else machine_rates(rates)
    floors = []
    if rate and row["flops"] is not None and row["limit"] != "memory":
        floors.append(row["flops"] / rate[row["limit"]])
    if rate and row["least_bytes"] is not None:
        floors.append(row["least_bytes"] / rate["memory"])
    floor = max(floors, default=None)
    contenders = {
        name: {**figures, "share": None if floor is None else floor / figures["median_s"]}
        for name, figures in row["contenders"].items()
    }
    judged = {**row, "contenders": contenders, "floor_s": floor}
    judged["targets"] = {name: _against(judged, name, aim) for name, aim in targets.items()}
    return judged


def slower_than_best(row: Mapping[str, Any]) -> bool:
    """Whether PyTorch's best baseline is the faster, in the median of the neighbours' ratio."""
    return row["best"] is not None and row["contenders"][row["best"]]["ratio"]["median"] < 1


def falls_short(row: Mapping[str, Any]) -> bool:
    """Whether the row is slower than PyTorch's best or misses a target, so that it must say why."""
    return slower_than_best(row) or any(target["met"] is False for target in row["targets"].values())


def _against(row: Mapping[str, Any], name: str, aim: float) -> dict[str, Any]:
    reached = None
    if name == LIMIT:
        reached = row["contenders"]["jax"]["share"]
    elif (contender := row["best"] if name == BEST else name) in row["contenders"]:
        reached = row["contenders"][contender]["ratio"]["median"]
    return {"aim": aim, "reached": reached, "met": None if reached is None else reached >= aim}
