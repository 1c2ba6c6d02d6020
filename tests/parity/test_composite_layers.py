"""Layers that PyTorch keeps stacked and Flax keeps apart: RNN gates, attention heads; and NNX state as the target."""

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
from parity.nnx_calls import nnx_calls

torch = pytest.importorskip("torch", reason="the other side is PyTorch")

# Many small programs, each run a few times.
pytestmark = pytest.mark.usefixtures("quick_compilation")


class Recurrent(nn.Module):
    cell: Any

    @nn.compact
    def __call__(self, x: Any) -> Any:
        return nn.RNN(self.cell(5, name="rnn"))(x)


class Following(nn.Module):
    """A recurrent network whose first carry is of its input's dtype: Flax's own is float32 whatever comes.

    It returns all that PyTorch's does: what every step computes, and the last state.
    """

    own: bool = True

    @nn.compact
    def __call__(self, x: Any) -> Any:
        carry = (jnp.zeros((len(x), 5), x.dtype),) * 2 if self.own else None
        (cell, hidden), y = nn.RNN(nn.OptimizedLSTMCell(5, name="rnn"))(x, initial_carry=carry, return_carry=True)
        return y, (hidden[None], cell[None])


class Attention(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        return nn.MultiHeadDotProductAttention(2, name="attention")(x)


X = np.random.default_rng(0).normal(size=(2, 6, 4)).astype(np.float32)


@pytest.mark.parametrize(("torch_cell", "cell"), [("LSTM", nn.OptimizedLSTMCell), ("GRU", nn.GRUCell)])
def test_gates_are_found_in_their_order(torch_cell: str, cell: Any) -> None:
    torch.manual_seed(0)
    module = getattr(torch.nn, torch_cell)(4, 5, batch_first=True)
    network = Recurrent(cell)
    state, shapes = module.state_dict(), jax.eval_shape(network.init, jax.random.key(0), X)
    table = parity.infer_rules(state, shapes, apply=network.apply, inputs=X)
    converted = parity.convert(state, shapes, table)
    y = np.asarray(network.apply(converted, jnp.asarray(X)))
    with torch.no_grad():
        want = module(torch.from_numpy(X))[0].numpy()
    np.testing.assert_allclose(y, want, atol=3e-7)
    # Of two biases that are only ever added, the sum comes back, in the first.
    back = parity.export(converted, table)
    assert back.keys() == state.keys()
    again = parity.convert(back, shapes, table)
    jax.tree.map(np.testing.assert_array_equal, again, converted)
    assert back["weight_hh_l0"].tobytes() == state["weight_hh_l0"].numpy().tobytes()
    module.load_state_dict({name: torch.from_numpy(array) for name, array in back.items()}, strict=True)
    with torch.no_grad():
        np.testing.assert_allclose(module(torch.from_numpy(X))[0].numpy(), want, atol=3e-7)


def test_what_a_loop_computes_is_judged_by_the_layer_around_it() -> None:
    torch.manual_seed(0)
    module = torch.nn.LSTM(4, 5, batch_first=True)
    network = Following()
    shapes = jax.eval_shape(network.init, jax.random.key(0), X)
    table = parity.infer_rules(module.state_dict(), shapes, apply=network.apply, inputs=X)
    converted = parity.convert(module.state_dict(), shapes, table)
    with jax.numpy_dtype_promotion("standard"):
        certificate = parity.certify(module, network.apply, converted, X, rules=table, torch_inputs=X)
        assert [entry["layer"] for entry in certificate["layers"]] == ["output/0", "output/1/0", "output/1/1"]
        assert certificate["output"]["numbers"] == 2 * 6 * 5 + 2 * (2 * 5)
        # A bias that comes of two is judged too.
        spoilt = jax.tree.map(jnp.array, converted)
        spoilt["params"]["rnn"]["hf"]["bias"] *= 1.001
        with pytest.raises(errors.CertificationError, match=r"(?s)first in output/0:.*params/rnn/hf/bias$"):
            parity.certify(module, network.apply, spoilt, X, rules=table, torch_inputs=X)
        apply = Following(own=False).apply
        with pytest.raises(ConfigurationError, match=r"does not run in float64, .*first carry$"):
            parity.certify(module, apply, converted, X, rules=table, torch_inputs=X)


def test_attention_is_split_into_heads() -> None:
    torch.manual_seed(0)
    block = torch.nn.MultiheadAttention(4, 2, batch_first=True)
    torch.nn.init.normal_(block.in_proj_bias)
    torch.nn.init.normal_(block.out_proj.bias)
    network = Attention()
    state, shapes = block.state_dict(), jax.eval_shape(network.init, jax.random.key(0), X)
    table = parity.infer_rules(state, shapes, apply=network.apply, inputs=X)
    converted = parity.convert(state, shapes, table)
    x = torch.from_numpy(X)
    with torch.no_grad():
        want = block(x, x, x, need_weights=False)[0].numpy()
    np.testing.assert_allclose(np.asarray(network.apply(converted, jnp.asarray(X))), want, atol=1e-6)
    back = parity.export(converted, table)
    assert all(back[name].tobytes() == value.numpy().tobytes() for name, value in state.items())


def test_a_missing_gate_leaves_nothing_that_fits() -> None:
    module = torch.nn.LSTM(4, 5, batch_first=True, bias=False)
    shapes = jax.eval_shape(Recurrent(nn.OptimizedLSTMCell).init, jax.random.key(0), X)
    with pytest.raises(errors.UnmatchedArraysError, match="weight_ih"):
        parity.infer_rules(module.state_dict(), shapes)


class NNXNetwork(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.conv = nnx.Conv(3, 4, (3, 3), padding="VALID", rngs=rngs)
        self.bn = nnx.BatchNorm(4, use_running_average=True, rngs=rngs)
        self.drop = nnx.Dropout(0.5, deterministic=True, rngs=rngs)
        self.fc = nnx.Linear(36, 5, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = jax.nn.relu(self.bn(self.conv(x)))
        return self.fc(self.drop(x).reshape(len(x), -1))


def test_nnx_modules_are_known_by_their_paths_whatever_is_called_first() -> None:
    graph, state = nnx.split(NNXNetwork(nnx.Rngs(0)))
    seen: list[tuple[str, str]] = []
    with nnx_calls(state, lambda module, path, result: seen.append((path, f"{type(module).__name__} {result.shape}"))):
        nnx.merge(graph, state).fc(jnp.zeros((2, 36)))
    assert seen == [("fc", "Linear (2, 5)")]


def test_nnx_state_is_a_target() -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential()
    for name, layer in (
        ("conv", torch.nn.Conv2d(3, 4, 3)),
        ("bn", torch.nn.BatchNorm2d(4)),
        ("relu", torch.nn.ReLU()),
        ("flatten", torch.nn.Flatten()),
        ("fc", torch.nn.Linear(36, 5)),
    ):
        module.add_module(name, layer)
    module.bn.running_mean += 0.5
    module.eval()
    graph, state = nnx.split(NNXNetwork(nnx.Rngs(0)))

    def apply(tree: Any, x: Any) -> Any:
        return nnx.merge(graph, tree)(x)

    x = np.random.default_rng(0).normal(size=(3, 5, 5, 3)).astype(np.float32)
    table = parity.infer_rules(module.state_dict(), state, apply=apply, inputs=x)
    assert {rule.target: rule.layout for rule in table.rules}["fc/kernel"] == "flattened"
    converted = parity.convert(module.state_dict(), state, table)
    assert isinstance(converted, nnx.State)
    certificate = parity.certify(module, apply, converted, x, rules=table, gradients=True)
    assert certificate["passed"]
    assert [entry["layer"] for entry in certificate["layers"]] == ["conv", "bn", "fc", "output"]
    assert certificate["unwatched"] == []
    spoilt = jax.tree.map(jnp.array, converted)
    spoilt["bn"]["mean"].set_value(1.1 * spoilt["bn"]["mean"].get_value())
    with pytest.raises(errors.CertificationError, match="first in bn:"):
        parity.certify(module, apply, spoilt, x, rules=table)
    back = parity.export(converted, table)
    assert all(array.tobytes() == module.state_dict()[name].numpy().tobytes() for name, array in back.items())
    assert set(module.state_dict()) - set(back) == {"bn.num_batches_tracked"}
