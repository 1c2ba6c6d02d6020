"""The course's trained smallNet, folded: the same classes on test images, and differences within the bound."""

from __future__ import annotations

from pathlib import Path

import pytest

import mathdnn_jax
import parity
from mathdnn_jax import data
from mathdnn_jax.cli.fold import compare
from mathdnn_jax.nets import BatchNorm

PYTORCHS_OWN = 9.22e-10
"""The largest squared norm, over batches of 100, of the difference that PyTorch's own folding makes on this file."""


@pytest.mark.filterwarnings("ignore:.*TypedStorage is deprecated")
@pytest.mark.parametrize("count", [200, pytest.param(10_000, marks=pytest.mark.long)])
def test_folding_the_real_file(shared: Path, count: int) -> None:
    pytest.importorskip("torch")
    restored = parity.restore(shared / "checkpoints" / "smallNetSaved", "small-net")
    folded, variables, report = mathdnn_jax.remove_batch_norm(restored.model, restored.params)
    assert report.left == ()
    assert not any(isinstance(layer, BatchNorm) for _, layer in folded.layers)
    images = data.unit_interval(data.load("cifar10", "test", shared / "data").images[:count])
    difference = compare(restored.model, restored.params, folded, variables, images)
    assert difference.same_class == difference.events == count
    assert difference.squared_norm <= min(1e-8, 3 * PYTORCHS_OWN)
    # The two are different computations: an exact zero would mean that nothing was folded.
    assert difference.squared_norm > 0
