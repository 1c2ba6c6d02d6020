from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathdnn_jax import nice
from mathdnn_jax.bijectors import Params
from mathdnn_jax.errors import ConfigurationError, DataSetError, ImageError, NonFiniteError
from mathdnn_jax.tasks import auroc, detect, halve, likelihood_threshold, score

from ...drawn import drawn

FLOW = nice(dim=4, width=3, depth=1, couplings=2)
PARAMS = drawn(FLOW.init, scale=0.5)

values = st.lists(st.integers(-5, 5), min_size=1, max_size=12).map(lambda v: np.asarray(v, np.float64))


def grey(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 2, 2)).astype(np.uint8)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_scores_are_log_prob_whatever_the_batches(batch_size: int) -> None:
    images = grey(7)
    told: list[int] = []
    chex.clear_trace_counter()
    flow = FLOW._replace(log_prob=chex.assert_max_traces(FLOW.log_prob, n=1))
    found = score(flow, PARAMS, images, batch_size=batch_size, on_batch=told.append)
    events = jnp.asarray(images.reshape(7, 4).astype(np.float32) / np.float32(255))
    np.testing.assert_allclose(found.log_prob, jax.jit(FLOW.log_prob)(PARAMS, events), rtol=1e-5)
    assert sum(told) == 7
    assert found.seconds > 0


def test_matrix_products_have_the_precision_that_is_asked_for() -> None:
    seen = []

    def spy(params: Params, x: jax.Array) -> jax.Array:
        program = str(jax.make_jaxpr(FLOW.log_prob)(params, x))
        seen.append([name for name in ("HIGHEST", "HIGH,") if name in program])
        return FLOW.log_prob(params, x)

    score(FLOW._replace(log_prob=spy), PARAMS, grey(3))
    score(FLOW._replace(log_prob=spy), PARAMS, grey(3), precision="high")
    assert seen == [["HIGHEST"], ["HIGH,"]]


def test_images_on_the_unit_interval_are_taken_as_they_are() -> None:
    images = grey(5)
    scaled = images.astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(score(FLOW, PARAMS, scaled).log_prob, score(FLOW, PARAMS, images).log_prob)


@pytest.mark.parametrize(
    ("images", "error", "words"),
    [
        (np.zeros((3, 3, 3), np.uint8), ImageError, r"\(4,\).*shape \(3, 3\), 9 pixels"),
        (np.full((3, 2, 2), 1.5), ImageError, "1.5"),
        (np.full((3, 2, 2), -0.1), ImageError, "-0.1"),
        (np.full((3, 2, 2), np.nan), ImageError, "NaN"),
        (np.zeros((3, 2, 2), np.int64), ImageError, "int64"),
        (np.zeros((0, 2, 2), np.uint8), DataSetError, "no images"),
    ],
)
def test_other_images_are_refused(images: np.ndarray, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        score(FLOW, PARAMS, images)


def test_an_infinite_likelihood_is_an_error_and_not_an_anomaly() -> None:
    params = {**PARAMS, "scaling": {"log_scale": jnp.full(4, 200.0)}}
    with pytest.raises(NonFiniteError, match=r"log p is -?(nan|inf) for image 0, and not finite for 2 of 2 images"):
        score(FLOW, params, np.full((2, 2, 2), 9, np.uint8))
    with pytest.raises(ConfigurationError, match="batch_size=0"):
        score(FLOW, PARAMS, grey(2), batch_size=0)


@given(count=st.integers(4, 50), seed=st.integers(0, 1000))
def test_halves_are_a_partition(count: int, seed: int) -> None:
    for split in ("halves", "random"):
        validation, test = halve(count, split, seed)
        assert len(validation) == count // 2
        assert sorted([*validation, *test]) == list(range(count))
    assert halve(count)[0].tolist() == list(range(count // 2))
    assert halve(count, "random", seed)[0].tolist() == halve(count, "random", seed)[0].tolist()


def test_random_halves_differ_by_seed() -> None:
    assert halve(100, "random", 0)[0].tolist() != halve(100, "random", 1)[0].tolist()
    with pytest.raises(ConfigurationError, match="'thirds'"):
        halve(10, "thirds")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="given -1"):
        halve(10, "random", -1)
    with pytest.raises(DataSetError, match="3 images"):
        halve(3)


def test_threshold_is_three_unbiased_deviations_below_the_mean() -> None:
    # mean 3, squared deviations 4 + 1 + 0 + 1 + 4 = 10 over n − 1 = 4.
    assert likelihood_threshold(np.array([1.0, 2, 3, 4, 5])) == pytest.approx(3 - 3 * np.sqrt(2.5), rel=1e-15)
    assert likelihood_threshold(np.array([1.0, 3.0]), deviations=1) == pytest.approx(2 - np.sqrt(2), rel=1e-15)
    with pytest.raises(DataSetError, match="at least two validation images, given 1"):
        likelihood_threshold(np.array([1.0]))
    with pytest.raises(NonFiniteError, match="1 validation"):
        likelihood_threshold(np.array([1.0, np.nan, 2.0]))


@given(inlier=values, outlier=values)
def test_auroc_is_the_share_of_pairs_in_order(inlier: np.ndarray, outlier: np.ndarray) -> None:
    pairs = inlier[:, None] - outlier[None]
    expected = (pairs > 0).mean() + 0.5 * (pairs == 0).mean()
    assert auroc(inlier, outlier) == pytest.approx(expected, abs=1e-12)


def test_errors_are_counted_on_the_right_side() -> None:
    validation = np.array([9.0, 11.0])  # threshold 10 − 3√2 = 5.757
    threshold = likelihood_threshold(validation)
    found = detect(validation, np.array([5.0, 6.0, threshold]), np.array([-1.0, threshold, 20.0, 5.7]))
    assert (found.type_1_errors, found.type_1_total) == (1, 3)
    assert (found.type_2_errors, found.type_2_total) == (2, 4)
    for inlier, outlier, name in ((np.nan, 0.0, "inlier"), (0.0, -np.inf, "outlier")):
        with pytest.raises(NonFiniteError, match=f"1 {name}"):
            detect(validation, np.array([inlier]), np.array([outlier]))
    with pytest.raises(DataSetError, match="given 0 and 1"):
        detect(validation, np.array([]), np.array([1.0]))
