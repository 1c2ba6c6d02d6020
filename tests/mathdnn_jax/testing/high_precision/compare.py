"""Comparisons of high precision with JAX in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from mathdnn_jax.testing.high_precision.interpreter import machine
from mathdnn_jax.testing.high_precision.numbers import nearest

DIGITS, WORK = 60, 1e7


def primitives(jaxpr: Any) -> Iterator[str]:
    """Yield the names of all primitives in a program, including those of the programs inside it."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda leaf: hasattr(leaf, "eqns")):
            if hasattr(value, "eqns"):
                yield from primitives(value)


def evaluated(function: Callable[..., Any], *arguments: Any) -> tuple[list[np.ndarray], list[np.ndarray], set[str]]:
    """Return the results in high precision, those of JAX, and the names of the primitives."""
    program = jax.make_jaxpr(function)(*arguments)
    used = machine(DIGITS, WORK)
    found = used.start(program, [np.asarray(leaf) for leaf in jax.tree.leaves(arguments)])
    assert used.work < WORK
    expected = [np.asarray(leaf) for leaf in jax.tree.leaves(jax.jit(function)(*arguments))]
    return found, expected, set(primitives(program.jaxpr))


def agree(function: Callable[..., Any], *arguments: Any, rtol: float = 1e-13) -> set[str]:
    found, expected, names = evaluated(function, *arguments)
    assert len(found) == len(expected) > 0
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        if theirs.dtype.kind == "f":
            assert ours.dtype == object
            np.testing.assert_allclose(nearest(ours), theirs, rtol=rtol, atol=rtol)
        else:
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)
    return names
