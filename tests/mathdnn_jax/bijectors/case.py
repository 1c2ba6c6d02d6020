"""One row of the table of maps that the shared tests go through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from mathdnn_jax import Bijector


class Case(NamedTuple):
    """A map and what the shared tests need to know about it.

    - `event_shape` of x, and `latent_shape` of z if it differs;
    - `support`: the interval of the entries of x, if it is not the real line;
    - `context_shape`, if the map has a context;
    - `parameter_scale`: the standard deviation of random parameters;
    - `long`: a variation of a map that every run checks, checked in long runs only. The checker compiles some fifteen
      programs for each map, and derivatives of it take long to compile.
    """

    bijector: Bijector
    event_shape: tuple[int, ...]
    latent_shape: tuple[int, ...] | None = None
    support: tuple[float, float] | None = None
    context_shape: tuple[int, ...] | None = None
    parameter_scale: float = 1.0
    long: bool = False

    @property
    def z_shape(self) -> tuple[int, ...]:
        return self.event_shape if self.latent_shape is None else self.latent_shape


def rows(cases: Mapping[str, Case]) -> list[Any]:
    """The cases as pytest parameters, with the mark of long runs where they have it."""
    return [pytest.param(case, marks=pytest.mark.long if case.long else (), id=name) for name, case in cases.items()]
