"""Likely mistakes behind a wrong log-determinant."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from mathdnn_jax.testing.determinant import log_abs_det
from mathdnn_jax.testing.structure import blocks


def diagnose(
    log_det: float,
    jacobian: np.ndarray,
    shape: tuple[int, ...],
    allowed: float,
    truth: tuple[float, float] | None = None,
) -> tuple[str, ...]:
    """Return at most three mistakes that explain the reported log_det to 10⁻⁶, the likeliest first.

    `truth` is (sign, log|det|) of the Jacobian, if it is known more precisely than the Jacobian itself.
    """
    sign, expected = log_abs_det(jacobian) if truth is None else truth
    if not np.isfinite(expected) or not np.isfinite(log_det):
        return ()
    close = max(allowed, 1e-6 * (1 + abs(log_det)))
    found = []
    for said, value in _candidates(float(expected), float(sign), jacobian, shape):
        if np.isfinite(value) and abs(value - expected) > 2 * close and abs(log_det - value) <= close:
            found.append(said)
    return tuple(dict.fromkeys(found[:3]))


def _candidates(truth: float, sign: float, jacobian: np.ndarray, shape: tuple[int, ...]) -> Iterator[tuple[str, float]]:
    yield "the sign is flipped: it is the log-det of the other direction", -truth
    yield "it is zero: no volume change is counted", 0.0
    factors = sorted({math.prod(part) for n in range(1, len(shape) + 1) for part in itertools.combinations(shape, n)})
    for factor in factors:
        if factor > 1:
            yield f"the factor {factor} is missing (a product of sizes in {shape})", truth / factor
            yield f"there is an extra factor {factor} (a product of sizes in {shape})", truth * factor
    yield "it is twice the expected value", 2 * truth
    yield "it is half of the expected value", truth / 2
    yield "it is the determinant, not its logarithm", sign * math.exp(min(truth, 700.0))
    yield "it is the absolute determinant, not its logarithm", math.exp(min(truth, 700.0))
    yield "the logarithm has base 2", truth / math.log(2)
    yield "the logarithm has base 10", truth / math.log(10)
    diagonal = np.abs(jacobian.diagonal())
    if (diagonal > 0).all():
        yield (
            "only the Jacobian's diagonal is counted, but the Jacobian is not triangular",
            float(np.log(diagonal).sum()),
        )
    yield "it is the trace of the Jacobian", float(jacobian.trace())
    parts = blocks(jacobian)
    if 1 < len(parts) <= 64:
        logs = [part.log_det for part in parts]
        yield "the absolute values of the blocks' logarithms are added: Σ |log|", float(np.abs(logs).sum())
        for part, log in zip(parts, logs, strict=True):
            where = _entries(part.rows)
            yield f"the contribution of {where} is missing", truth - log
            yield f"the contribution of {where} is counted twice", truth + log
            yield f"the contribution of {where} has the wrong sign", truth - 2 * log
        if len(parts) <= 6:
            for chosen in itertools.product((0, 1, -1), repeat=len(parts)):
                value = sum(c * log for c, log in zip(chosen, logs, strict=True))
                kept = [_entries(part.rows) for c, part in zip(chosen, parts, strict=True) if c == 1]
                flipped = [_entries(part.rows) for c, part in zip(chosen, parts, strict=True) if c == -1]
                yield _selection(", ".join(kept), ", ".join(flipped)), value


def _selection(kept: str, flipped: str) -> str:
    if kept and flipped:
        return f"it counts {kept}, and {flipped} with the wrong sign"
    return f"it counts only {flipped}, with the wrong sign" if flipped else f"it counts only {kept or 'zeros'}"


def _entries(rows: tuple[int, ...]) -> str:
    return f"output {rows[0]}" if len(rows) == 1 else f"outputs {{{', '.join(map(str, rows[:8]))}}}"
