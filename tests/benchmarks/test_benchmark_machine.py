from __future__ import annotations

import datetime as dt
import json
import platform

import pytest

import mathdnn_jax
from benchmarks.harness.machine import describe_machine


def test_the_description_of_the_machine_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/somebody/s/folder")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    machine = describe_machine()
    assert json.loads(json.dumps(machine)) == machine
    assert machine["cpu"]
    assert machine["cores"] >= 1
    assert machine["backend"] in {"cpu", "gpu", "tpu"}
    assert machine["versions"]["python"] == platform.python_version()
    assert machine["versions"]["mathdnn_jax"] == mathdnn_jax.__version__
    assert {"jax", "jaxlib", "numpy", "torch"} <= machine["versions"].keys()
    assert machine["environment"]["OMP_NUM_THREADS"] == "2"
    assert machine["environment"]["JAX_COMPILATION_CACHE_DIR"] == "set"
    assert "MKL_NUM_THREADS" not in machine["environment"]
    assert dt.datetime.fromisoformat(machine["measured"]).utcoffset() == dt.timedelta(0)
