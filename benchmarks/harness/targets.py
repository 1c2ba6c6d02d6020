"""Rows compared with the limits and the targets: the floor, the shares, and which targets are met."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.harness.rates import Rates, machine_rates

LIMIT = "limit"
BEST = "best"


def evaluate(row: Mapping[str, Any], rates: Rates | None, targets: Mapping[str, float]) -> dict[str, Any]:
    """Return the row with what follows from the machine's limits, where the better framework sets each limit.

    - `floor_s`: the least seconds of one run, its FLOPs at the rate of its limit or its bytes at the rate of memory,
      whichever is more; None if neither is counted, or if the limits were not measured;
    - `share` of each contender: the floor over its median time;
    - `targets`: for each target, the `aim`, the figure `reached`, and whether it was `met`; the last two are None if
      the contender was not measured.
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
    evaluated = {**row, "contenders": contenders, "floor_s": floor}
    evaluated["targets"] = {name: _verdict(evaluated, name, aim) for name, aim in targets.items()}
    return evaluated


def slower_than_best(row: Mapping[str, Any]) -> bool:
    """Return whether PyTorch's best baseline is faster, by the median ratio of neighbouring samples."""
    return row["best"] is not None and row["contenders"][row["best"]]["ratio"]["median"] < 1


def falls_short(row: Mapping[str, Any]) -> bool:
    """Return whether the row is slower than PyTorch's best or misses a target, so that it must give a reason."""
    return slower_than_best(row) or any(target["met"] is False for target in row["targets"].values())


def _verdict(row: Mapping[str, Any], name: str, aim: float) -> dict[str, Any]:
    reached = None
    if name == LIMIT:
        reached = row["contenders"]["jax"]["share"]
    elif (contender := row["best"] if name == BEST else name) in row["contenders"]:
        reached = row["contenders"][contender]["ratio"]["median"]
    return {"aim": aim, "reached": reached, "met": None if reached is None else reached >= aim}
