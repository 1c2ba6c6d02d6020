"""Certifying the planted mistakes and the right ports, and judging what was said."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np
import torch

import parity
from benchmarks.conventions.planted import PLANTED, Conventions, Planted
from benchmarks.conventions.right import IN_BFLOAT16, RIGHT
from benchmarks.conventions.transformer import LENGTH, VOCABULARY, Transformer
from benchmarks.conventions.unet import Unet
from parity.errors import CertificationError
from parity.rules.table import RuleTable

EVENTS = 64


class Row(NamedTuple):
    """What was said of one network; of a right port the planted place and cause are empty.

    `place_right` and `cause_right` are "yes", "one of several" that explain it equally well, "NO", or "none" where
    nothing was said. `seconds` are wall time.
    """

    name: str
    place: str
    place_said: str
    place_right: str
    convention: str
    said: str
    cause_right: str
    text: str
    seconds: float


def run(
    planted: Sequence[Planted] = PLANTED,
    right: Mapping[str, Conventions] = RIGHT,
    in_bfloat16: Sequence[str] = IN_BFLOAT16,
    say: Callable[[str], object] = lambda _: None,
) -> Iterator[Row]:
    """Certify them all, the planted mistakes first."""
    for mistake in planted:
        say(mistake.name)
        yield row_of(mistake)
    for name, conventions in right.items():
        say(f"right: {name}")
        yield _right_row(f"float32: {name}", conventions, torch.float32)
    for name in in_bfloat16:
        say(f"right in bfloat16: {name}")
        yield _right_row(f"bfloat16: {name}", right[name], torch.bfloat16)


def row_of(mistake: Planted) -> Row:
    """Certify a mistake, and compare what is said of it with what it is."""
    start = time.perf_counter()
    certificate = certified(mistake.torch, mistake.jax)
    seconds = time.perf_counter() - start
    blame = certificate["blame"] or {"cause": None, "convention": None}
    said = _place(certificate["blame"])
    named = blame["convention"] or ""
    return Row(
        mistake.name,
        mistake.place,
        said,
        _judged(said, mistake.place),
        mistake.convention,
        named,
        _judged(named, mistake.convention),
        blame["cause"] or "",
        seconds,
    )


def _judged(said: str, right: str) -> str:
    if said == right:
        return "yes"
    return "one of several" if right in said.split(" or ") else "NO" if said else "none"


def certified(theirs: Conventions, ours: Conventions, dtype: Any = torch.float32) -> dict[str, Any]:
    """Return the certificate of a PyTorch network and the Flax network of other conventions, with its weights."""
    module, variables, rules = _converted(theirs, dtype)
    try:
        return parity.certify(module, ours.flax().apply, variables, inputs(theirs), rules=rules)
    except CertificationError as error:
        return dict(error.certificate)


@lru_cache
def _converted(conventions: Conventions, dtype: Any) -> tuple[Any, Any, RuleTable]:
    """Return the PyTorch network, its weights for the Flax network of the same conventions, and the rules."""
    torch.manual_seed(0)
    module, network, x = conventions.torch().eval().to(dtype), conventions.flax(), inputs(conventions)
    shapes = jax.eval_shape(network.init, jax.random.key(0), x)
    shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
    rules = parity.infer_rules(module.state_dict(), shapes, apply=network.apply, inputs=shape)
    return module, parity.convert(module.state_dict(), shapes, rules), rules


def inputs(conventions: Conventions) -> np.ndarray:
    """Return a batch for a network: tokens, or images in [0, 1)."""
    generator = np.random.default_rng(0)
    if isinstance(conventions, Transformer):
        return generator.integers(0, VOCABULARY, (EVENTS, LENGTH)).astype(np.int32)
    size = 8 if isinstance(conventions, Unet) else 16
    return generator.uniform(size=(EVENTS, size, size, 3)).astype(np.float32)


def _right_row(name: str, conventions: Conventions, dtype: Any) -> Row:
    start = time.perf_counter()
    certificate = certified(conventions, conventions, dtype)
    seconds = time.perf_counter() - start
    passed = certificate["passed"]
    verdict, said = ("yes", "") if passed else ("NO", _place(certificate["blame"]) or "its weights")
    return Row(name, "", said, verdict, "", "" if passed else "a false alarm", verdict, "", seconds)


def _place(blame: Mapping[str, Any] | None) -> str:
    if blame is None:
        return ""
    if blame["layer"] is not None:
        return str(blame["layer"])
    start, end = blame["between"]
    return f"{_bare(start)} → {_bare(end)}"


def _bare(place: str) -> str:
    return place.removeprefix("the ")
