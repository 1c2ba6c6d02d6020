"""The number of digits of an evaluation, which grows until two results agree and the condition leaves enough digits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mathdnn_jax.testing.high_precision.interpreter import machine
from mathdnn_jax.testing.high_precision.matrix import inverse
from mathdnn_jax.testing.high_precision.numbers import Number, UndefinedError, UnresolvedError

LEVELS = (60, 120, 240, 1000)
"""The numbers of digits that are tried."""

AGREEMENT = 1e-15
"""Two results agree if they differ by at most this times 1 + |result|."""

SPARE = 40
"""The number of digits that are left after the condition of a case has taken its share."""

WORK = 5e5
"""The work of one evaluation, about half a second."""

MORE_WORK = 4 * WORK
"""The work of one inverse, or of one evaluation with the most digits, which only seemingly singular maps need."""

Spend = Callable[[float], None]
"""A function that is told how much work has been done."""


class Value(NamedTuple):
    """The flattened value and the log_det that a program returns, and what the machine recorded about it."""

    digits: int
    value: np.ndarray
    log_det: Number
    narrow: bool
    approximate: bool
    uncertain: bool
    broken: bool
    zeros: tuple[int, ...]


class Derived(NamedTuple):
    """Value and log_det, the Jacobian J, the sign of det J and log|det J|.

    `singular` states that det J vanishes with any number of digits.
    """

    computed: Value
    jacobian: np.ndarray
    sign: int
    log_abs_det: Number
    singular: bool


def settled_value(evaluate: Callable[[int], Value], least: int) -> Value:
    """Evaluate with more and more digits until two results agree, and return the last one.

    Args:
        evaluate: the map, as a function of the number of digits.
        least: the least number of digits.

    Raises:
        UnresolvedError: the program cannot be followed, does not return numbers, or does not settle.
    """
    levels = LEVELS if least <= LEVELS[0] else (least, least + SPARE)
    previous = None
    for digits in levels:
        try:
            current = evaluate(digits)
        except UndefinedError:
            if digits == levels[-1]:
                raise
            continue
        if previous is not None:
            pairs = zip((*previous.value, previous.log_det), (*current.value, current.log_det), strict=True)
            if all(_agree(a, b) for a, b in pairs):
                return current
        previous = current
    raise UnresolvedError(f"the value does not settle at {levels[-1]} digits")


def settled_derived(differentiate: Callable[[int], Derived], spend: Spend = lambda _: None) -> Derived:
    """Evaluate with more and more digits until log_det and log|det J| settle, and return the last result.

    No number of digits proves that a determinant is zero: 1 − tanh(1000)² is 10⁻⁸⁶⁷. It is taken to be zero if it keeps
    shrinking along with the last digit up to the largest number of digits, unless log_det claims so small a number.

    Raises:
        UnresolvedError: the program cannot be followed, does not return numbers, or does not settle.
    """
    previous, levels = None, list(LEVELS)
    while levels:
        digits = levels.pop(0)
        try:
            current = differentiate(digits)
        except UndefinedError:
            if not levels:
                raise
            continue
        if previous is not None:
            if _settles(previous, current) and digits_needed(current, spend) <= digits:
                return current
            if not levels:
                return _last(previous, current, spend)
            if _vanishes(previous, current):
                levels = levels[-1:]
        previous = current
    raise UnresolvedError(f"the determinant does not settle at {LEVELS[-1]} digits")


def digits_needed(derived: Derived, spend: Spend) -> int:
    """Return how many digits z = f(x) needs to determine x: those of max_j Σ_i |J⁻¹_ji| |z_i|, and some to spare.

    Raises:
        UnresolvedError: more digits are needed than are tried.
    """
    matrix = inverse_of(derived, spend)
    if matrix is None:
        raise UnresolvedError("the Jacobian has no inverse with this many digits")
    scale = max(np.abs(matrix) @ np.abs(derived.computed.value))
    return bounded(SPARE + max(0, decimals(scale)))


def inverse_of(derived: Derived, spend: Spend) -> np.ndarray | None:
    """Return J⁻¹, or None if a pivot is zero with this many digits.

    Raises:
        UnresolvedError: it takes too long.
    """
    used = machine(derived.computed.digits, MORE_WORK)
    try:
        return inverse(used, derived.jacobian)
    finally:
        spend(MORE_WORK - used.work)


def bounded(digits: int) -> int:
    """Return `digits` if that many are allowed.

    Raises:
        UnresolvedError: more digits are needed than are tried.
    """
    if digits > LEVELS[-1]:
        raise UnresolvedError(f"more than {LEVELS[-1]} digits are needed")
    return digits


def decimals(number: Number) -> int:
    """Return the number of digits before the decimal point, which is negative for small numbers, and 0 for zero."""
    return math.ceil(number.context.mag(number) * math.log10(2)) if number else 0


def _last(less: Derived, more: Derived, spend: Spend) -> Derived:
    """Return the result with the most digits, with which the result with fewer digits does not agree."""
    claimed = more.computed.log_det
    if _vanishes(less, more):
        if claimed != -math.inf and claimed < -LEVELS[-1] / 2 * math.log(10):
            raise UnresolvedError(f"log_det is smaller than {LEVELS[-1]} digits can resolve")
        return more._replace(singular=True)
    if _agree(more.log_abs_det, claimed) and digits_needed(more, spend) <= LEVELS[-1]:
        return more
    raise UnresolvedError(f"the determinant does not settle at {LEVELS[-1]} digits")


def _settles(less: Derived, more: Derived) -> bool:
    determinants = more.log_abs_det != -math.inf and _agree(less.log_abs_det, more.log_abs_det)
    return determinants and _agree(less.computed.log_det, more.computed.log_det)


def _agree(a: Number, b: Number) -> bool:
    return bool(a == b or abs(a - b) <= AGREEMENT * (1 + abs(b)))


def _vanishes(less: Derived, more: Derived) -> bool:
    """Return whether the determinant shrinks by as many orders of magnitude as digits are added.

    With fewer digits it may happen to be zero. Then it is compared with Π_i Σ_j |J_ij|.
    """
    if more.log_abs_det == -math.inf:
        return True
    if less.log_abs_det == -math.inf:
        log = more.log_abs_det.context.log
        most = sum(log(row) for row in np.abs(more.jacobian).sum(1))
        return bool(more.log_abs_det - most <= -0.5 * more.computed.digits * math.log(10))
    gained = (more.computed.digits - less.computed.digits) * math.log(10)
    return bool(more.log_abs_det - less.log_abs_det <= -0.9 * gained)
