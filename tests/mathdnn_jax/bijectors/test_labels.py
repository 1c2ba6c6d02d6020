from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathdnn_jax import Bijector
from mathdnn_jax.bijectors import actnorm, affine_coupling, chain, split, with_labels
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.nets import MLP

from ...drawn import drawn, normal

MASK = np.array([True, False, False])


def coupling() -> Bijector:
    return affine_coupling(MLP((5, 4)), MASK, context_shape=(3,))


def test_a_label_is_the_unit_vector_of_its_class() -> None:
    bare = coupling()
    # The same program for both, so that they can be compared to the bit.
    bare = bare._replace(forward=jax.jit(bare.forward), inverse=jax.jit(bare.inverse))
    labelled = with_labels(bare, 3)
    params, x = drawn(bare.init), normal(4, 3)
    labels = np.array([2, 0, 1, 2], np.int32)
    for function in ("forward", "inverse"):
        given = getattr(labelled, function)(params, x, labels)
        expected = getattr(bare, function)(params, x, np.eye(3, dtype=np.float32)[labels])
        for ours, theirs in zip(given, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_one_label_may_serve_a_batch() -> None:
    labelled = with_labels(coupling(), 3)
    params, x, forward = drawn(labelled.init), normal(4, 3), jax.jit(labelled.forward)
    z, _ = forward(params, x, np.int32(1))
    np.testing.assert_allclose(z, forward(params, x, np.full(4, 1, np.int32))[0], rtol=1e-6)


def test_data_sets_first_parameters_through_labels() -> None:
    # What the coupling hands on depends on the labels, which reach it through two chains and a split.
    level = chain(coupling=coupling(), actnorm=actnorm(3, event_ndims=1))
    labelled = with_labels(chain(level=split(level, (4,), kept=3, context_shape=(3,))), 3)
    x, labels = 5 + np.asarray(normal(64, 4)), np.arange(64, dtype=np.int32) % 3
    assert labelled.init_from_data is not None
    params = jax.jit(labelled.init_from_data)(drawn(labelled.init), x, labels)
    z = np.asarray(jax.jit(labelled.forward)(params, x, labels)[0])[:, 1:]
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(z.std(0), 1, rtol=1e-5)
    assert with_labels(coupling(), 3).init_from_data is None


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (None, "a label from 0 to 2, given none"),
        (jnp.array([0.0, 1.0]), "given float32"),
        (jnp.array([0, 3]), "from 0 to 2, given 3"),
        (jnp.array([-1, 1]), "from 0 to 2, given -1"),
    ],
)
def test_anything_but_labels_is_refused(labels: jax.Array | None, words: str) -> None:
    labelled = with_labels(coupling(), 3)
    with pytest.raises(ConfigurationError, match=words):
        labelled.forward(drawn(labelled.init), normal(2, 3), labels)


def test_under_jit_a_label_out_of_range_makes_its_event_nan() -> None:
    labelled = with_labels(coupling(), 3)
    _, log_det = jax.jit(labelled.forward)(drawn(labelled.init), normal(2, 3), np.array([1, 3], np.int32))
    assert np.isnan(log_det).tolist() == [False, True]


def test_one_class_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="classes=1"):
        with_labels(coupling(), 1)
