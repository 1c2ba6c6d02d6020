"""Workloads of networks: every quick case runs in both frameworks, and their results agree.

The dry run in the tests of `benchmarks gpu` covers the workloads that this command measures too.
"""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.case import Settings
from benchmarks.workloads.autoencoder_start import images

pytest.importorskip("torch", reason="the benchmark runs PyTorch beside JAX")

QUICK = Settings(quick=True, modes=())
NAMES = [
    "net1",
    "net2",
    "dcgan-sample",
    "gamblers-ruin",
    "gradient-estimators",
]


@pytest.mark.parametrize("name", NAMES)
def test_every_quick_case_agrees_and_is_timed(name: str) -> None:
    from benchmarks.harness.measure import measure
    from benchmarks.workloads import load_workload

    for case in load_workload(name).cases(QUICK):
        row = measure(case, 1, "f32", quick=True)
        assert row["unable"] == {}
        assert row["best"] is not None
        assert all(np.isfinite(contender["median_s"]) for contender in row["contenders"].values())
        assert set(case.others) < set(row["contenders"])


@pytest.mark.long
def test_a_new_process_trains_an_epoch() -> None:
    from benchmarks.workloads.autoencoder import in_process

    assert 0 < in_process("jax", 200) < 0.2


def test_both_autoencoder_programs_have_the_same_images() -> None:
    from benchmarks.workloads.autoencoder_start import grey_images

    np.testing.assert_array_equal(grey_images(5).astype(np.float32) / np.float32(255), images(5))
