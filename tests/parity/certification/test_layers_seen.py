"""Which layers are compared: all arrays of every call, in Linen and in NNX, and none is left out without a word."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import parity
from mathdnn_jax.errors import ConfigurationError
from parity import errors
from parity.capture import INPUT, OUTPUT, Place, flax_values, torch_values
from parity.rules.table import Rule, RuleTable

from .pairs import RULES, Dense, converted, dense_variables, normal, torch_dense

torch = pytest.importorskip("torch", reason="a certificate runs the PyTorch network")

# Many small programs, each run a few times.
pytestmark = pytest.mark.usefixtures("quick_compilation", "no_search")
X = normal(64, 4)


class Two(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
    """A layer with two outputs, of which the network returns one."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = torch_dense(lambda h: (h, h.exp()))

    def forward(self, x: Any) -> Any:
        return self.pair(x)[0]


class FlaxTwo(nn.Module):
    second: Any

    @nn.compact
    def __call__(self, x: Any) -> Any:
        return Dense(lambda h: (h, self.second(h)), name="pair")(x)[0]


def test_all_outputs_of_a_layer_are_compared() -> None:
    module = Two()
    tree = {"params": {"pair": dense_variables(module.pair)["params"]}}
    certificate = parity.certify(module, FlaxTwo(jnp.exp).apply, tree, X)
    assert [entry["layer"] for entry in certificate["layers"]] == ["pair/dense", "pair[0]", "pair[1]", "output"]
    with pytest.raises(errors.CertificationError, match=r"first in pair\[1\]: in float64"):
        parity.certify(module, FlaxTwo(lambda h: 1.001 * jnp.exp(h)).apply, tree, X)
    # What has no counterpart is named.
    certificate = parity.certify(module, FlaxTwo(lambda h: None).apply, tree, X)
    assert [entry["layer"] for entry in certificate["layers"]] == ["pair/dense", "pair[0]", "output"]
    assert certificate["left_out"] == ["pair"]


def test_a_call_that_has_no_counterpart_is_named() -> None:
    class Twice(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.dense, self.idle, self.act = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4), torch.nn.Tanh()

        def forward(self, x: Any) -> Any:
            return self.dense(self.act(self.dense(x)))

    class FlaxTwice(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            dense = nn.Dense(4, name="dense")
            h = jnp.tanh(dense(x))
            kernel, bias = (dense.variables["params"][leaf] for leaf in ("kernel", "bias"))
            return h @ kernel + bias + 0 * nn.Dense(4, name="idle")(h)

    torch.manual_seed(0)
    module = Twice()
    certificate = parity.certify(module, FlaxTwice().apply, converted(module, FlaxTwice(), X), X)
    assert certificate["unwatched"] == ["dense#2", "idle"]
    assert certificate["left_out"] == ["act"]


def test_a_layer_called_output_is_not_the_network() -> None:
    class Named(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.output = torch.nn.Linear(4, 3)

        def forward(self, x: Any) -> Any:
            return -self.output(x)

    class FlaxNamed(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            return -nn.Dense(3, name="output")(x)

    torch.manual_seed(0)
    module = Named()
    certificate = parity.certify(module, FlaxNamed().apply, converted(module, FlaxNamed(), X), X)
    assert [(e["layer"], e["torch"]) for e in certificate["layers"]] == [("./output", "./output"), ("output", "output")]


class Network(nnx.Module):
    def __init__(self, rngs: nnx.Rngs, act: Any = nnx.relu) -> None:
        self.act = act
        self.dense = nnx.Linear(4, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, use_running_average=True, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.norm(self.act(self.dense(x)))


class TorchNetwork(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
    def __init__(self) -> None:
        super().__init__()
        self.dense, self.norm = torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4)

    def forward(self, x: Any) -> Any:
        return self.norm(torch.relu(self.dense(x)))


def test_nnx_modules_are_seen_in_several_states_too() -> None:
    torch.manual_seed(0)
    module = TorchNetwork().eval()
    graph, *states = nnx.split(Network(nnx.Rngs(0)), nnx.Param, ...)
    leaves = {
        "dense.weight": "0/dense/kernel",
        "dense.bias": "0/dense/bias",
        "norm.weight": "0/norm/scale",
        "norm.bias": "0/norm/bias",
        "norm.running_mean": "1/norm/mean",
        "norm.running_var": "1/norm/var",
    }
    rules = RuleTable(
        tuple(Rule((key,), path, "linear" if "kernel" in path else "same") for key, path in leaves.items()),
        {"norm.num_batches_tracked": "a count"},
    )
    variables = parity.convert(module.state_dict(), tuple(states), rules)

    def apply(tree: Any, x: Any, graph: Any = graph) -> Any:
        return nnx.merge(graph, *tree)(x)

    certificate = parity.certify(module, apply, variables, X, rules=rules)
    assert [entry["layer"] for entry in certificate["layers"]] == ["dense", "norm", "output"]
    assert [entry["layer"] for entry in certificate["layer_inputs"]] == ["dense", "norm"]
    other = nnx.split(Network(nnx.Rngs(0), nnx.leaky_relu))[0]
    with pytest.raises(errors.CertificationError, match="is between dense and norm, where PyTorch has no module"):
        parity.certify(module, lambda tree, x: apply(tree, x, other), variables, X, rules=rules)


class Wider(nn.Dense):
    """A layer that calls the method of its base class, which is one call."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        return 2.0 * super().__call__(x)


class NNXWider(nnx.Linear):
    def __call__(self, x: Any, *more: Any, scale: Any = 2.0, **others: Any) -> Any:  # type: ignore[override]
        return scale * super().__call__(x + 0 * more[0] + 0 * others["mask"])


def test_a_call_of_the_base_class_is_no_call_of_its_own() -> None:
    class Holder(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            return Wider(3, name="wider")(x)

    variables = Holder().init(jax.random.key(0), X)
    with flax_values() as linen:
        y = Holder().apply(variables, X)
    assert list(linen) == [Place("wider", INPUT, "0"), Place("wider", OUTPUT)]
    np.testing.assert_array_equal(linen[Place("wider", OUTPUT)], y)

    class NNXHolder(nnx.Module):
        def __init__(self) -> None:
            self.wider = NNXWider(4, 3, rngs=nnx.Rngs(0))

        def __call__(self, x: Any) -> Any:
            return self.wider(x, x + 1, scale=jnp.float32(3), mask=x - 1)

    graph, state = nnx.split(NNXHolder())
    with flax_values(state) as values:
        y = nnx.merge(graph, state)(jnp.asarray(X))
    names = ["0", "1", "scale", "mask"]
    assert list(values) == [*(Place("wider", INPUT, name) for name in names), Place("wider", OUTPUT)]
    np.testing.assert_array_equal(values[Place("wider", OUTPUT)], y)
    np.testing.assert_array_equal(values[Place("wider", INPUT, "mask")], X - 1)


def test_pytorchs_calls_are_copies_in_the_order_of_computation() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(inplace=True))
    x = torch.from_numpy(X)
    with torch.no_grad(), torch_values(module) as values:
        y = module(x)
    assert list(values) == [Place("0", INPUT, "0"), Place("0", OUTPUT), Place("1", INPUT, "0"), Place("1", OUTPUT)]
    assert (values[Place("0", OUTPUT)] < 0).any()
    np.testing.assert_array_equal(values[Place("1", OUTPUT)], y.numpy())
    y.fill_(0)
    assert values[Place("1", OUTPUT)].any()
    assert not module[0]._forward_hooks
    assert not module[0]._forward_pre_hooks


def test_dtypes_other_than_float64_are_named_on_either_side() -> None:
    module = torch_dense(lambda h: h.half())
    with pytest.raises(ConfigurationError, match="its layer output computes in float16"):
        parity.certify(module, Dense(lambda h: h.astype(jnp.float16)).apply, dense_variables(module), X, rules=RULES)
