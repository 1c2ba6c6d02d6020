"""The keys of both kinds of certificate, in their order: programs and people read them, so they are a contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

import parity
from parity import errors

from .twins import save, small_state

torch = pytest.importorskip("torch", reason="a certificate runs the PyTorch network")

pytestmark = pytest.mark.usefixtures("quick_compilation")

DIFFERENCE = ["greatest", "index", "jax", "torch"]
MEASURED = {
    "values": [],
    "non_finite": [],
    "greatest_magnitude": [],
    "jax_float32_error": ["rms", "max"],
    "torch_float32_error": ["rms", "max"],
    "jax_to_torch_float64": [],
    "jax_to_torch_float32": ["absolute", "relative", "ulp"],
}
COMMON = {
    "backend": ["jax", "device", "torch"],
    "precision": ["jax_default_matmul_precision", "weights", "truth"],
    "versions": ["mathdnn_jax", "python"],
    "written": [],
    "rule": ["rms_factor", "max_factor", "text"],
}
OF_CHECKPOINT = {
    "model": [],
    "config": ["dim", "width", "depth", "couplings"],
    "passed": [],
    "checkpoint": ["name", "sha256", "bytes", "parameters", "inside", "left"],
    "round_trip_bit_exact": [],
    "inputs": ["source", "events", "sha256"],
    **COMMON,
    "layers": ["layer", "passed", "failures", *MEASURED],
}
OF_MODULES = {
    "model": [],
    "passed": [],
    "weights": ["leaves", "differing"],
    "parameters": [],
    "inputs": ["events", "shape", "sha256"],
    "output": ["leaves", "numbers", "layouts", "either_layout"],
    **COMMON,
    "recorded": [],
    "rules": [],
    "unwatched": [],
    "left_out": [],
    "layers": ["layer", "torch", "passed", "failures", *MEASURED],
    "layer_inputs": ["layer", "argument", "torch", "passed", "failures", *MEASURED],
    "gradients": ["layer", "passed", "failures", *MEASURED],
    "blame": [],
}
BLAME = ["place", "layer", "between", "modules", "formula", "float32", "finite", "cause", "convention"]


def check(certificate: dict[str, Any], expected: dict[str, list[str]]) -> None:
    assert list(certificate) == list(expected)
    for name, keys in expected.items():
        value = certificate[name]
        if name == "versions":
            assert set(keys) <= set(value)
        elif name in ("layers", "layer_inputs", "gradients"):
            assert value
            for entry in value:
                assert list(entry) == keys
                for measured, parts in MEASURED.items():
                    assert list(entry[measured] if parts else []) == parts
                assert all(list(kind) == DIFFERENCE for kind in entry["jax_to_torch_float32"].values())
        else:
            assert list(value if isinstance(value, dict) else []) == keys


def test_keys_of_a_checkpoints_certificate(tmp_path: Path) -> None:
    path = save(small_state(), tmp_path / "nice.pt")
    check(parity.certify(path, output=tmp_path / "c.json", events=8), OF_CHECKPOINT)


def test_keys_of_the_certificate_of_two_networks() -> None:
    torch.manual_seed(0)
    module, x = torch.nn.Sequential(torch.nn.Linear(3, 2)), np.random.default_rng(0).random((8, 3), dtype=np.float32)
    tree = {
        "params": {"0": {"kernel": module[0].weight.detach().numpy().T, "bias": module[0].bias.detach().numpy()}},
    }
    check(parity.certify(module, Twin().apply, tree, x, gradients=True), OF_MODULES)
    with pytest.raises(errors.CertificationError) as caught:
        parity.certify(module, lambda t, y: -jnp.asarray(Twin().apply(t, y)), tree, x, gradients=True)
    check({**caught.value.certificate}, {**OF_MODULES, "blame": BLAME})


class Twin(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        return nn.Dense(2, name="0")(x)
