"""The search for a likely cause: PyTorch's own float64 network is run again with one convention changed."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch

from parity.certification.causes.cause import Cause, Change, Number, after
from parity.certification.causes.estimation import Difference, solved
from parity.certification.causes.families import alternatives
from parity.certification.causes.structure import At, structures
from parity.certification.causes.tape import Call, Recorded, record
from parity.certification.causes.trials import Departure, Outcome, OutOfTrialsError, Trials

RUNS = 400
SECONDS = 60.0
AT_MOST = 3
"""How many causes are looked for, one behind the other."""
REGION = 24
"""How many calls before the place of departure are looked at."""


class Found(NamedTuple):
    """A change that explains the departure, and its outcome."""

    change: Change
    outcome: Outcome


def likely_cause(
    module: torch.nn.Module,
    run: Callable[[], Any],
    departs: Callable[[Any], Departure | None],
    difference: Callable[[Any, Departure], Any] | None = None,
    *,
    runs: int = RUNS,
    seconds: float = SECONDS,
) -> Cause | None:
    """Look for a convention in which JAX differs from PyTorch, where their float64 runs depart.

    PyTorch's own network is run again and again, each time with one call changed to another convention. A convention is
    named only if JAX agrees with the changed network at the place of departure, by the same bound as always. Calls
    before the last place that agrees are left alone; a change that explains the departure is also tried at the later
    calls of its kind, and if the runs then depart at a later place, the search goes on there.

    Args:
        module: PyTorch's network in float64, in eval mode; afterwards it is what it was.
        run: runs it on the batch, and returns a recording.
        departs: recording → (number, layer, "input" or "output") of the first place at which JAX's run departs from it,
            in the order of computation, with PyTorch's name of the layer's call, "" for the network; None if nowhere.
        difference: (recording, place) → JAX's values there minus PyTorch's; None where they have other shapes. With it,
            numbers such as ε are solved for; without it, only usual values are tried.
        runs: how many runs the search may take.
        seconds: how much time.

    Returns:
        The cause, or None if no known convention explains the departure.
    """
    recorded = record(module, run)
    trials = Trials(module, run, departs, recorded, runs, seconds)
    causes: list[tuple[str, str]] = []
    cut = False
    departure = departs(recorded.result)
    outcome = Outcome(math.inf if departure is None else departure[0], departure, recorded.result)
    try:
        while outcome.departure is not None and len(causes) < AT_MOST:
            found = _explanations(module, recorded, trials, outcome, difference)
            if not found:
                break
            causes.append(_told(found, recorded))
            trials.settled.append(found[0].change)
            outcome = found[0].outcome
    except OutOfTrialsError:
        cut = True
    return _cause(causes, outcome, trials.used, cut)


def _explanations(
    module: torch.nn.Module,
    recorded: Recorded,
    trials: Trials,
    start: Outcome,
    difference: Callable[[Any, Departure], Any] | None,
) -> list[Found]:
    """Return the best explanations of a departure, which are equally good."""
    departure = start.departure
    assert departure is not None
    at = At(departure[1], departure[2])
    region = list(_region(recorded, trials, at, start.reach))
    options: list[Change | Number] = []
    for call in region:
        options += alternatives(call, recorded.calls)
    structural = list(structures(module, recorded, at, region))
    options += structural
    found: list[Found] = []
    try:
        for option in options:
            for change in _discrete(option):
                outcome = trials.outcome(change)
                if outcome.reach > start.reach:
                    found.append(_everywhere(recorded, structural, trials, change, outcome))
        if difference is not None and not any(f.outcome.departure is None for f in found):
            here: Difference = lambda recording: difference(recording, departure)  # noqa: E731
            for option in options:
                if isinstance(option, Number):
                    for change, outcome in solved(trials, option, start, here):
                        if outcome.reach > start.reach:
                            found.append(_everywhere(recorded, structural, trials, change, outcome))
    except OutOfTrialsError:
        if not found:
            raise
    # A part that is left out or a factor can undo the first effect of many a mistake: it has to explain them all.
    found = [f for f in found if f.change.rank == 0 or f.outcome.departure is None]
    if not found:
        return []
    best = max(f.outcome.reach for f in found)
    found = [f for f in found if f.outcome.reach == best]
    rank = min(f.change.rank for f in found)
    return [f for f in found if f.change.rank == rank]


def _discrete(option: Change | Number) -> Iterator[Change]:
    if isinstance(option, Change):
        yield option
        return
    for values in option.known:
        if any(not math.isclose(a, b, rel_tol=1e-9) for a, b in zip(values, option.start, strict=True)):
            yield option.change(*values)


def _region(recorded: Recorded, trials: Trials, at: At, index: float) -> Iterator[Call]:
    """Yield the calls on which the place depends and no place before it, the latest first.

    A call is known to be before another place if that place departs when the call's result is disturbed.
    """
    span = recorded.spans.get(at.layer)
    ends = () if span is None else span.inputs if at.side == "input" else span.outputs
    waiting = sorted({-seen.maker for seen in ends if seen.maker is not None})
    done: set[int] = set()
    count = 0
    while waiting and count < REGION:
        number = -heapq.heappop(waiting)
        if number in done:
            continue
        done.add(number)
        call = recorded.calls[number]
        if any(seen.floating for seen in call.outputs):
            probe = trials.outcome(Change("", "", {number: after(_disturbed)}))
            if -math.inf < probe.reach < index:
                continue
        count += 1
        yield call
        for seen in call.tensors:
            if seen.maker is not None:
                heapq.heappush(waiting, -seen.maker)


def _disturbed(result: Any) -> Any:
    if isinstance(result, torch.Tensor):
        return result * (1 + 2**-10) + 2**-10 if result.is_floating_point() else result
    return tuple(map(_disturbed, result)) if isinstance(result, (tuple, list)) else result


def _everywhere(
    recorded: Recorded, structural: Sequence[Change | Number], trials: Trials, change: Change, outcome: Outcome
) -> Found:
    """Make the same change at the later places of its kind too, if it takes that to agree further."""
    alone = Found(change, outcome)
    if outcome.departure is None:
        return alone
    first = min(change.edits, default=0)
    same = [change]
    for call in recorded.calls[first + 1 :]:
        if call.number not in change.edits:
            same += _like(change, alternatives(call, recorded.calls))
    if not change.edits or change.skipped:
        same += _like(change, structural)
        same = list({(tuple(o.edits), tuple(o.inputs), tuple(o.outputs), o.skipped): o for o in same}.values())
    if len(same) == 1:
        return alone
    joined = Change(
        change.convention,
        change.text,
        {index: edit for other in same for index, edit in other.edits.items()},
        change.rank,
        change.kind,
        {name: f for other in same for name, f in other.inputs.items()},
        {name: f for other in same for name, f in other.outputs.items()},
        frozenset().union(*(other.skipped for other in same)),
    )
    further = trials.outcome(joined)
    return Found(joined, further) if further.reach > outcome.reach else alone


def _like(change: Change, options: Iterable[Change | Number]) -> Iterator[Change]:
    """Yield the options that are the same change; the values of numbers are in their texts."""
    for option in options:
        if isinstance(option, Number):
            if len(option.start) != len(change.values):
                continue
            option = option.change(*change.values)
        if option.key == change.key:
            yield option


def _told(found: Sequence[Found], recorded: Recorded) -> tuple[str, str]:
    conventions = list(dict.fromkeys(f.change.convention for f in found))
    texts = list(dict.fromkeys(f"JAX {f.change.text}{_where(f, recorded)}" for f in found))
    told = texts[0] if len(texts) == 1 else f"either {', or '.join(texts[:4])}"
    return " or ".join(conventions), told


def _where(found: Found, recorded: Recorded) -> str:
    calls = [recorded.calls[index] for index in sorted(found.change.edits)]
    modules = list(dict.fromkeys(call.module for call in calls if call.module))
    names = [*modules, *sorted(found.change.skipped.difference(modules))]
    if not names:
        return ""
    return f" (in {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''})"


def _cause(causes: Sequence[tuple[str, str]], outcome: Outcome, used: int, cut: bool) -> Cause | None:
    short = f"; the search was cut short after {used} runs" if cut else ""
    if not causes:
        return Cause("unknown", f"none of the conventions tried so far explains it{short}") if cut else None
    convention = " and ".join(name for name, _ in causes)
    text = "; and ".join(text for _, text in causes)
    if outcome.departure is None:
        return Cause(convention, f"{text}: with that in PyTorch too, the float64 runs agree everywhere{short}")
    _, layer, side = outcome.departure
    place = f"the {side} of {layer}" if layer else f"the network's {side}"
    return Cause(convention, f"{text}: with that in PyTorch too, the float64 runs agree up to {place}{short}")
