"""Where the time of one case goes, operation by operation, in JAX and in PyTorch."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.case import Case, Contender
from benchmarks.frameworks import on_jax
from benchmarks.frameworks.costs import Profile
from benchmarks.frameworks.profile_jax import costs_of_jax
from benchmarks.frameworks.profile_torch import costs_of_torch
from benchmarks.harness.timing import timed


def profile_case(case: Case) -> Iterator[tuple[str, Profile]]:
    """Yield the profile of one run in JAX and of one in PyTorch's first baseline, each after two unprofiled runs.

    Raises:
        ProfileError: the work runs on a GPU, and JAX's profiler saw nothing of it.
    """
    yield "JAX", profile_jax(case)
    yield from profile_torch(case)


def profile_jax(case: Case) -> Profile:
    """Return the profile of one run in JAX, after two unprofiled runs."""
    on_jax.forget_compiled()  # programs of earlier cases have the same names as those of this one
    return Profile(_settled(case.jax), costs_of_jax(case.jax))


def profile_torch(case: Case) -> Iterator[tuple[str, Profile]]:
    """Yield the profile of one run of PyTorch's first baseline, if there is one, after two unprofiled runs."""
    for name, run in [*case.torch.items()][:1]:
        yield f"PyTorch {name}", Profile(_settled(run), costs_of_torch(run))


def profile_table(profiles: dict[str, Profile], rows: int = 12) -> str:
    """Return a line for each of the most expensive operations: milliseconds, share of the time, number of runs."""
    lines = []
    for name, (seconds, costs) in profiles.items():
        total = sum(cost.seconds for cost in costs)
        lines.append(f"{name}: {1e3 * seconds:.4g} ms; under the profiler, its operations take {1e3 * total:.4g}")
        for operation, spent, times in costs[:rows]:
            lines.append(f"  {1e3 * spent:>10.3f} ms {spent / (total or 1):>5.0%} {times:>7} x  {operation}")
    return "\n".join(lines)


def _settled(run: Contender) -> float:
    """Do the work twice, and return the seconds of the second time."""
    run()
    return timed(run)[1]
