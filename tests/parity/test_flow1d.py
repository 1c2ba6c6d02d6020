"""The one-dimensional flow beside its PyTorch twin: conversion both ways, a certificate, and the inverse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import parity
from mathdnn_jax.flows import mixture_cdf_flow
from parity import errors

torch = pytest.importorskip("torch", reason="compares with PyTorch")

# Many small programs, each run a few times.
pytestmark = pytest.mark.usefixtures("quick_compilation")


def twin(components: int = 5) -> Any:
    from parity.reference import Flow1d

    torch.manual_seed(components)
    module = Flow1d(components)
    with torch.no_grad():
        module.log_sigmas.normal_().mul_(0.5)
        module.weight_logits.normal_()
    return module


def state_of(module: Any) -> dict[str, np.ndarray]:
    return {name: tensor.detach().numpy() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("components", [1, 5])
def test_a_checkpoint_is_certified_and_comes_back_bit_for_bit(components: int, tmp_path: Path) -> None:
    module = twin(components)
    assert list(module.state_dict()) == ["mus", "log_sigmas", "weight_logits"]
    path = tmp_path / "flow1d.pt"
    torch.save(module.state_dict(), path)
    certificate = parity.certify(path, "mixture-cdf", output=tmp_path / "flow1d.json", events=64)
    assert certificate["passed"]
    assert certificate["config"] == {"components": components}
    assert [layer["layer"] for layer in certificate["layers"]] == ["z", "log_det", "log_prob"]
    params = parity.convert(state_of(module), "mixture-cdf")
    back = parity.export(params, "mixture-cdf")
    assert {name: array.tobytes() for name, array in back.items()} == {
        name: array.tobytes() for name, array in state_of(module).items()
    }


def test_a_permuted_array_is_no_longer_the_same_function(tmp_path: Path) -> None:
    module = twin()
    params = parity.convert(state_of(module), "mixture-cdf")
    params["mean"] = params["mean"][::-1]
    flow, x = mixture_cdf_flow(5), np.linspace(-3, 3, 7, dtype=np.float32)
    expected = module.log_prob(torch.from_numpy(x)).detach().numpy()
    assert np.abs(np.asarray(flow.log_prob(params, jnp.asarray(x))) - expected).max() > 1e-2


def test_both_inverses_find_the_same_numbers() -> None:
    module = twin(3).double()
    params = {"mean": module.mus, "log_scale": module.log_sigmas, "weight_logits": module.weight_logits}
    with jax.enable_x64(True), torch.no_grad():
        half = float(module.weight_logits.exp().sum()) / 2
        z = np.linspace(-0.95 * half, 0.95 * half, 9)
        arrays = {name: jnp.asarray(tensor.numpy()) for name, tensor in params.items()}
        x = np.asarray(mixture_cdf_flow(3).inverse(arrays, jnp.asarray(z))[0])
        expected = module.inverse(torch.from_numpy(z)).numpy()
        np.testing.assert_allclose(x, expected, rtol=0, atol=1e-9)
        np.testing.assert_allclose(module(torch.tensor(x))[0].numpy(), z, rtol=0, atol=1e-9)
        with pytest.raises(ValueError, match="the map reaches only"):
            module.inverse(torch.tensor([half]))


def test_the_twins_slope_is_the_derivative_of_its_map() -> None:
    module = twin().double()
    x = torch.linspace(-3, 3, 13, dtype=torch.float64, requires_grad=True)
    z, log_slope = module(x)
    (slope,) = torch.autograd.grad(z.sum(), x)
    torch.testing.assert_close(log_slope, slope.log(), rtol=1e-12, atol=1e-12)


def test_the_state_of_another_model_is_refused() -> None:
    with pytest.raises(errors.WrongModelError, match="not a mixture-cdf"):
        parity.convert({"weight": np.zeros((2, 3), np.float32)}, "mixture-cdf")
