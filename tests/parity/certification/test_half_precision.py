"""Weights in half precision are certified as the float32 numbers that they are."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest

import parity
from parity.errors import CertificationError

torch = pytest.importorskip("torch", reason="a certificate runs the PyTorch network")

X = np.random.default_rng(0).normal(size=(64, 5)).astype(np.float32)


def network(dtype: Any) -> tuple[Any, Any, Any]:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(5, 3)).to(dtype)
    dense = nn.Dense(3, name="0")
    shapes = jax.eval_shape(dense.init, jax.random.key(0), X)
    rules = parity.infer_rules(module.state_dict(), shapes)
    return module, dense.apply, parity.convert(module.state_dict(), shapes, rules)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("wide", [False, True])
def test_a_right_port_passes_with_its_weights_as_they_are_or_in_float32(dtype: Any, wide: bool) -> None:
    module, apply, variables = network(dtype)
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(variables)} == {str(dtype).removeprefix("torch.")}
    if wide:
        variables = jax.tree.map(lambda leaf: leaf.astype(np.float32), variables)
    certificate = parity.certify(module, apply, variables, X)
    assert certificate["passed"]
    assert certificate["weights"] == {"leaves": 2, "differing": []}
    assert certificate["precision"]["weights"] == f"float32, stored in {str(dtype).removeprefix('torch.')}"
    assert next(module.parameters()).dtype == dtype


def test_rounding_the_weights_to_bfloat16_is_no_conversion() -> None:
    module, apply, variables = network(torch.float32)
    assert parity.certify(module, apply, variables, X)["precision"]["weights"] == "float32"
    rounded = jax.tree.map(lambda leaf: leaf.astype(jax.numpy.bfloat16), variables)
    with pytest.raises(CertificationError, match=r"these weights are not what the rules make"):
        parity.certify(module, apply, rounded, X)


def test_a_wrong_weight_in_bfloat16_is_named() -> None:
    module, apply, variables = network(torch.bfloat16)
    kernel = np.array(variables["params"]["kernel"])
    kernel[0, 0] *= 2
    wrong = {"params": {**variables["params"], "kernel": kernel}}
    with pytest.raises(CertificationError, match=r"not what the rules make .*: params/kernel$"):
        parity.certify(module, apply, wrong, X)
