from __future__ import annotations

import numpy as np
import pytest

from benchmarks.agreement import check_agreement
from benchmarks.errors import OutputsDifferError
from mathdnn_jax.errors import MathdnnError

TRUTH = np.array([-1000.0, -2000.0, -1500.0])
ULP = float(np.spacing(np.float32(2000)))


def off_by(*errors: float) -> np.ndarray:
    return (TRUTH + np.array(errors) * ULP).astype(np.float32)


def test_rounding_passes_and_the_greatest_errors_are_returned() -> None:
    assert check_agreement(TRUTH, {"jax": off_by(0, 5, 0), "torch": off_by(1, 0, 0)}) == {"jax": 5 * ULP, "torch": ULP}


@pytest.mark.parametrize("worse", ["jax", "torch"])
def test_either_framework_may_be_the_one_that_is_off(worse: str) -> None:
    outputs = {"jax": off_by(1, 0, 0), "torch": off_by(1, 0, 0), worse: off_by(0, 0, 7)}
    with pytest.raises(OutputsDifferError, match=rf"{worse} is off by .* event 2: jax .*, torch .*, truth -1500"):
        check_agreement(TRUTH, outputs)


def test_exactly_the_bound_passes() -> None:
    check_agreement(TRUTH, {"jax": off_by(6, 0, 0), "torch": off_by(1, 0, 0)})


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_outputs_that_are_no_numbers(bad: float) -> None:
    values = off_by(0, 0, 0)
    values[1] = bad
    with pytest.raises(OutputsDifferError, match=r"event 1 torch computed"):
        check_agreement(TRUTH, {"jax": off_by(0, 0, 0), "torch": values})


def test_another_shape() -> None:
    with pytest.raises(OutputsDifferError, match=r"jax computed an array of shape \(2,\), expected \(3,\)"):
        check_agreement(TRUTH, {"jax": off_by(0, 0, 0)[:2], "torch": off_by(0, 0, 0)})


def test_the_error_is_the_librarys() -> None:
    assert issubclass(OutputsDifferError, MathdnnError)
