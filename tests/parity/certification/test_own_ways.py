"""Modules that do as PyTorch's own in their own ways: constants in float32, own norms, other axes, averages, ties."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

import parity
from parity import errors
from parity.rules.table import Rule, RuleTable
from parity.rules.targets import target_leaves

from .pairs import normal

torch = pytest.importorskip("torch", reason="a certificate runs the PyTorch network")

pytestmark = pytest.mark.usefixtures("quick_compilation", "no_search")
X = normal(64, 4)


def dense(layer: Any) -> dict[str, Any]:
    return {"kernel": layer.weight.detach().numpy().T, "bias": layer.bias.detach().numpy()}


class Steps(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
    """It adds numbers that it makes in float32 in any case, as embeddings of a time do."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(4, 7)

    def forward(self, x: Any) -> Any:
        steps = torch.arange(start=0, end=7, dtype=torch.float32) / 7
        return self.fc(x) + torch.exp(-steps) + torch.linspace(0, 1, 7, dtype=torch.float32)


def test_the_truth_of_a_tensor_made_in_float32_is_that_in_float64() -> None:
    module = Steps()

    def apply(v: Any, x: Any) -> Any:
        steps = jnp.arange(7, dtype=x.dtype) / 7
        return x @ v["fc"]["kernel"] + v["fc"]["bias"] + jnp.exp(-steps) + jnp.linspace(0, 1, 7, dtype=x.dtype)

    assert parity.certify(module, apply, {"fc": dense(module.fc)}, X)["passed"]


class LayerNorm(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
    """Of images, over the channels, which are second: it is called as PyTorch's, and is another."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.rand(features))
        self.bias = torch.nn.Parameter(torch.rand(features))

    def forward(self, x: Any) -> Any:
        moved = torch.nn.functional.layer_norm(x.movedim(1, -1), (len(self.weight),), self.weight, self.bias)
        return moved.movedim(-1, 1)


class Normed(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
    def __init__(self) -> None:
        super().__init__()
        self.norm = LayerNorm(6)

    def forward(self, x: Any) -> Any:
        return self.norm(x)


class OwnNorm(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        scale, bias = (self.param(name, nn.initializers.ones, x.shape[-1:]) for name in ("scale", "bias"))
        centred = x - x.mean(-1, keepdims=True)
        return centred / jnp.sqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-5) * scale + bias


class Norm(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        return OwnNorm(name="norm")(x)


def test_a_norm_of_ones_own_may_have_its_channels_second() -> None:
    module = Normed()
    scale, bias = module.norm.weight.detach().numpy(), module.norm.bias.detach().numpy()
    tree = {"params": {"norm": {"scale": scale, "bias": bias}}}
    certificate = parity.certify(module, Norm().apply, tree, normal(64, 4, 5, 6))
    assert [entry["layer"] for entry in certificate["layers"]] == ["norm", "output"]


@pytest.mark.parametrize("axis", [0, 1])
def test_a_spectral_norm_of_a_square_weight_over_either_axis(axis: int) -> None:
    torch.manual_seed(0)
    layer = torch.nn.utils.spectral_norm(torch.nn.Linear(8, 8), dim=axis)
    layer(torch.randn(3, 8))
    layer.eval()
    layer(torch.randn(3, 8))
    state = layer.state_dict()
    tree = {"kernel": np.zeros((8, 8), np.float32), "bias": np.zeros(8, np.float32)}
    converted = parity.convert(state, tree, parity.infer_rules(state, tree))
    np.testing.assert_allclose(converted["kernel"], layer.weight.detach().numpy().T, rtol=1e-5, atol=1e-6)


def test_a_moving_average_that_is_ignored_is_not_the_module() -> None:
    layer = torch.nn.Sequential()
    layer.add_module("fc", torch.nn.Linear(4, 3))
    rules = tuple(
        Rule((f"net.fc.{name}",), f"fc/{leaf}", layout)
        for name, leaf, layout in (("weight", "kernel", "linear"), ("bias", "bias", "same"))
    )
    average = {"ema.fc.weight": "an average", "ema.fc.bias": "an average"}
    tree = {"fc": dense(layer.fc)}

    def apply(v: Any, x: Any) -> Any:
        return x @ v["fc"]["kernel"] + v["fc"]["bias"]

    assert parity.certify(layer, apply, tree, X, rules=RuleTable(rules, average))["passed"]


def test_bits_that_are_no_random_stream_are_weights() -> None:
    bits = np.zeros((), np.uint32)
    tree = {"fc": {"kernel": np.zeros((4, 3))}, "rngs": {"a": bits}, "dropout": {"key": bits, "count": bits}, "k": bits}
    tree["key"] = {"packed": bits}
    assert list(target_leaves(tree)) == ["fc/kernel", "k", "key/packed"]
    layer = torch.nn.Linear(4, 3)
    with pytest.raises(errors.ConversionError, match="k"):
        parity.certify(layer, lambda v, x: x @ v["kernel"] + v["bias"], {**dense(layer), "k": bits}, X)


def test_a_layer_that_repeats_a_weight_is_in_the_table() -> None:
    def repeated() -> Any:
        layer = torch.nn.Sequential(torch.nn.Linear(4, 4, bias=False), torch.nn.Linear(4, 4, bias=False))
        layer[1].weight.data.copy_(layer[0].weight.data)
        return layer

    module = repeated()
    table = RuleTable((Rule(("0.weight",), "kernel", "linear"),))
    tree = {"kernel": module[0].weight.detach().numpy().T}
    certificate = parity.certify(module, lambda v, x: x @ v["kernel"] @ v["kernel"], tree, X, rules=table)
    assert '"1.weight" = "0.weight"' in certificate["rules"]
    assert certificate["left_out"] == []
