"""Batch norms are removed exactly, or left with a reason."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from random_networks import INPUT_SHAPE, apply, events, networks, random_variables, rounding

import mathdnn_jax
from mathdnn_jax import errors
from mathdnn_jax.nets import BatchNorm, Sequential


def fits(network: Sequential) -> bool:
    try:
        network.output_shapes(INPUT_SHAPE)
    except errors.ImageError:
        return False
    return True


@given(network=networks().filter(fits), seed=st.integers(0, 99))
def test_whatever_the_layers_the_output_is_the_same(network: Sequential, seed: int) -> None:
    variables, x = random_variables(network, seed), events(seed)
    folded, new, report = mathdnn_jax.remove_batch_norm(network, variables)
    truth = apply(network, variables, x)
    unit = rounding(network, variables, x) + rounding(folded, new, x)
    assert (np.abs(apply(folded, new, x) - truth) <= unit * np.finfo(np.float64).eps).all()
    assert (np.abs(apply(folded, new, x, np.float32) - truth) <= unit * np.finfo(np.float32).eps).all()
    left = [name for name, layer in folded.layers if isinstance(layer, BatchNorm)]
    assert list(report.left) == left
    assert all(entry.detail for entry in report.layers if entry.action != "kept")
    assert {entry.layer for entry in report.layers} >= {name for name, _ in network.layers}
    json.dumps(report.as_dict())
