from __future__ import annotations

import numpy as np
import pytest

from benchmarks.errors import OutputsDifferError
from benchmarks.harness.agreement import check_agreement, check_close
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
def test_outputs_with_nan_or_infinity_are_refused(bad: float) -> None:
    values = off_by(0, 0, 0)
    values[1] = bad
    with pytest.raises(OutputsDifferError, match=r"event 1, torch computed"):
        check_agreement(TRUTH, {"jax": off_by(0, 0, 0), "torch": values})


def test_outputs_of_another_shape_are_refused() -> None:
    with pytest.raises(OutputsDifferError, match=r"jax computed an array of shape \(2,\), expected \(3,\)"):
        check_agreement(TRUTH, {"jax": off_by(0, 0, 0)[:2], "torch": off_by(0, 0, 0)})


def test_the_error_is_one_of_the_library() -> None:
    assert issubclass(OutputsDifferError, MathdnnError)


def test_a_coarser_precision_has_larger_ulps() -> None:
    outputs = {"jax": off_by(0, 100, 0), "torch": off_by(0, 0, 0)}
    with pytest.raises(OutputsDifferError):
        check_agreement(TRUTH, outputs)
    check_agreement(TRUTH, outputs, epsilon=2.0**-17)


def test_outputs_of_several_axes_name_the_entry() -> None:
    wrong = TRUTH[None].astype(np.float32) + np.array([0, 1, 0], np.float32)
    with pytest.raises(OutputsDifferError, match=r"entry \(0, 1\)"):
        check_agreement(TRUTH[None], {"jax": wrong, "torch": TRUTH[None].astype(np.float32)})


def test_without_a_truth_results_are_close_to_jax() -> None:
    jax, other = (np.array([1.0, -10.0]), np.array(3.0)), (np.array([1.0, -10.0]), np.array(3.003))
    assert check_close(jax, other, "peer", 2e-3, 2.0**-23) == pytest.approx(1e-3)
    with pytest.raises(OutputsDifferError, match=r"peer .* differ by 0.001 .* allowed 0.0005"):
        check_close(jax, other, "peer", 5e-4, 2.0**-23)
    # In bf16 the tolerance is larger, but not so large that everything passes.
    check_close(jax, other, "peer", 5e-4, 2.0**-7)
    with pytest.raises(OutputsDifferError, match=r"allowed 0.1"):
        check_close((np.array(1.0),), (np.array(1.2),), "peer", 5e-4, 2.0**-7)
    with pytest.raises(OutputsDifferError, match="nan"):
        check_close((np.array(1.0),), (np.array(np.nan),), "peer", 0.1, 2.0**-23)


def test_random_results_have_the_same_shapes() -> None:
    assert check_close((np.zeros(2),), (np.ones(2),), "peer", None, 2.0**-23) is None
    with pytest.raises(OutputsDifferError, match="shapes"):
        check_close((np.zeros(2),), (np.ones(3),), "peer", None, 2.0**-23)
