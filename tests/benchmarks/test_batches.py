"""`--batch N`: any number works for every workload, or is refused in words."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.case import Settings, check_least_batch
from mathdnn_jax.errors import ConfigurationError

pytest.importorskip("torch", reason="the benchmark runs PyTorch beside JAX")

ANY = [
    "nice-log-prob", "nice-sample", "nice-step", "nice-epoch", "inpainting", "real-nvp-step", "real-nvp-sample",
    "glow-step", "glow-sample", "flow-1d", "autoencoder-epoch", "small-net", "small-net-folded", "net1", "net2",
    "vae-step", "dcgan-sample", "plu", "growth",
]  # fmt: skip
LEAST = {"small-net-step": 2, "gan-step": 2, "gamblers-ruin": 2000, "gradient-estimators": 4000}


def measured(name: str, batch: int) -> int:
    """Run every quick case of a workload with this batch, and return their number."""
    from benchmarks.harness.measure import measure
    from benchmarks.workloads import load_workload

    count = 0
    for case in load_workload(name).cases(Settings(batches=(batch,), quick=True, modes=())):
        row = measure(case, 1, "f32", quick=True)
        assert row["unable"] == {}
        assert all(np.isfinite(contender["median_s"]) for contender in row["contenders"].values())
        count += 1
    return count


@pytest.mark.parametrize(
    "name", ["small-net", *(pytest.param(name, marks=pytest.mark.long) for name in ANY if name != "small-net")]
)
def test_a_batch_that_divides_nothing_is_timed(name: str) -> None:
    assert measured(name, 3) > 0


@pytest.mark.parametrize("batch", [1, 3, 7, 100, 3000])
def test_small_net_at_its_full_number_of_images_takes_any_batch(batch: int) -> None:
    from benchmarks.workloads.small_net import parts_of

    parts = parts_of(batch)
    assert parts >= 1
    assert parts * batch <= max(2000, batch)
    assert parts == 100 or (parts + 1) * batch > 2000


@pytest.mark.parametrize("name", LEAST)
def test_too_small_a_batch_is_refused_in_words(name: str) -> None:
    from benchmarks.workloads import load_workload

    cases = load_workload(name).cases
    with pytest.raises(ConfigurationError, match=f"given 1, expected batches of at least {LEAST[name]} items: "):
        next(cases(Settings(batches=(5000, 1), quick=True, modes=())))


def test_every_workload_that_takes_batches_is_here() -> None:
    from benchmarks.workloads import MODULES

    # One starts processes with its own batches, and one needs other libraries.
    assert {*ANY, *LEAST} == set(MODULES) - {"autoencoder-start", "flow-peers"}


def test_the_least_batch() -> None:
    check_least_batch(Settings(), 5, "reason")
    check_least_batch(Settings(batches=(5, 6)), 5, "reason")
    with pytest.raises(ConfigurationError, match="given 4, 1, expected batches of at least 5 items: reason"):
        check_least_batch(Settings(batches=(4, 5, 1)), 5, "reason")
