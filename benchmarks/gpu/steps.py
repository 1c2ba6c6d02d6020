"""The function for each kind of step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from benchmarks.case import Settings
from benchmarks.frameworks import on_jax, on_torch
from benchmarks.gpu.card import describe
from benchmarks.gpu.ceilings import ceilings
from benchmarks.gpu.certificates import certificates
from benchmarks.gpu.claims import claims
from benchmarks.gpu.identities import identities
from benchmarks.gpu.plan import Step, chosen, rehearsed
from benchmarks.gpu.process import Request
from benchmarks.gpu.profiles import profiles
from benchmarks.gpu.rows import rows

Found = Iterator[tuple[str, Any]]
"""Findings in the order in which they are made, each with the name of its kind."""


def begin(rehearsal: bool) -> dict[str, Any]:
    """Have both frameworks compute on the GPU, or on the CPU for a rehearsal, and describe the device.

    Raises:
        ConfigurationError: there is no GPU that both frameworks can use.
    """
    on_jax.use_backend("cpu" if rehearsal else "gpu")
    return describe()


def perform(request: Request, left: Callable[[], float]) -> Found:
    """Do the requested step and yield its findings.

    Raises:
        Exception: whatever the step raises, after the findings made until then.
    """
    (step,) = chosen([request.step])
    if request.rehearsal:
        step = rehearsed(step)
    with ExitStack() as stack:
        stack.enter_context(on_torch.tuned())
        if request.rehearsal:
            stack.enter_context(on_torch.thread_count(1))
        yield from _found(step, request, left)


def _found(step: Step, request: Request, left: Callable[[], float]) -> Found:
    settings = Settings(step.batches, request.rehearsal, step.modes, step.precision, stand_in=request.rehearsal)
    match step.kind:
        case "ceilings":
            return ceilings(request.rehearsal)
        case "certificates":
            return certificates(request.rehearsal)
        case "identities":
            return identities(request.rehearsal, left)
        case "claims":
            return claims(request.rehearsal, left)
        case "profiles":
            return profiles(request.short, settings, left)
        case "rows":
            return rows(step, settings, left)
