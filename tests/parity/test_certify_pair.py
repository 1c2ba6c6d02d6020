"""Certificates of any pair: every planted mistake is caught, and the layer that it is in is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import parity
from mathdnn_jax.errors import ConfigurationError, EventShapeError
from parity import errors
from parity.certification.report import describe
from parity.rules.table import Rule, RuleTable

torch = pytest.importorskip("torch", reason="a certificate runs the PyTorch network")

# Many small programs, each run a few times.
pytestmark = pytest.mark.usefixtures("quick_compilation")
Tree = dict[str, Any]


class Twin(nn.Module):
    """The network below in Flax; `epsilon` and `channels_first` are where a twin goes wrong."""

    epsilon: float = 1e-5
    channels_first: bool = False

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = nn.Conv(4, (3, 3), padding="VALID", name="conv1")(x)
        x = nn.relu(nn.BatchNorm(use_running_average=True, epsilon=self.epsilon, name="bn1")(x))
        x = nn.relu(nn.Conv(4, (3, 3), padding="VALID", name="conv2")(x))
        x = (x.transpose(0, 3, 1, 2) if self.channels_first else x).reshape(len(x), -1)
        x = nn.relu(nn.Dense(8, name="fc1")(x))
        x = nn.relu(nn.Dense(8, name="fc2")(x))
        return nn.Dense(8, name="fc3")(x)


@pytest.fixture(scope="module")
def module() -> Any:
    torch.manual_seed(0)
    layers = {
        "conv1": torch.nn.Conv2d(2, 4, 3),
        "bn1": torch.nn.BatchNorm2d(4),
        "relu1": torch.nn.ReLU(inplace=True),
        "conv2": torch.nn.Conv2d(4, 4, 3),
        "relu2": torch.nn.ReLU(inplace=True),
        "flatten": torch.nn.Flatten(),
        "fc1": torch.nn.Linear(36, 8),
        "relu3": torch.nn.ReLU(),
        "fc2": torch.nn.Linear(8, 8),
        "relu4": torch.nn.ReLU(),
        "fc3": torch.nn.Linear(8, 8),
    }
    built = torch.nn.Sequential()
    for name, layer in layers.items():
        built.add_module(name, layer)
    with torch.no_grad():
        built.bn1.running_mean.normal_()
        built.bn1.running_var.uniform_(0.5, 2)
        for layer in (built.conv2, built.fc1, built.fc2):
            layer.bias += 0.5
    return built.eval()


X = np.random.default_rng(0).normal(size=(64, 7, 7, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def table(module: Any) -> parity.RuleTable:
    variables = jax.eval_shape(Twin().init, jax.random.key(0), X)
    return parity.infer_rules(module.state_dict(), variables, apply=Twin().apply, inputs=X)


@pytest.fixture(scope="module")
def variables(module: Any, table: parity.RuleTable) -> Tree:
    shapes = jax.eval_shape(Twin().init, jax.random.key(0), X)
    tree: Tree = parity.convert(module.state_dict(), shapes, table)
    return tree


def test_a_right_pair_passes_with_its_gradients(module: Any, variables: Tree, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in module.state_dict().items()}
    certificate = parity.certify(module, Twin().apply, variables, X, gradients=True, output=tmp_path / "c.json")
    assert certificate == json.loads((tmp_path / "c.json").read_text())
    assert certificate["passed"]
    names = [entry["layer"] for entry in certificate["layers"]]
    assert names == ["conv1", "bn1", "conv2", "fc1", "fc2", "fc3", "output"]
    assert [entry["torch"] for entry in certificate["layers"]] == names
    assert {entry["layer"] for entry in certificate["gradients"]} == {
        "inputs",
        *(f"params/{name}/{leaf}" for name in ("conv1", "conv2", "fc1", "fc2", "fc3") for leaf in ("kernel", "bias")),
        "params/bn1/scale",
        "params/bn1/bias",
    }
    assert certificate["weights"] == {"leaves": 14, "differing": []}
    assert certificate["unwatched"] == []
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    shown = describe(certificate)
    assert "gradient of params/fc1/kernel" in shown
    assert "passed: Sequential" in shown
    assert "FAILED" not in shown


def change(path: str, function: Callable[[np.ndarray], np.ndarray]) -> Callable[[Tree], Tree]:
    def changed(tree: Tree) -> Tree:
        tree = jax.tree.map(np.array, tree)
        *parents, leaf = path.split("/")
        node = tree
        for parent in parents:
            node = node[parent]
        node[leaf] = function(node[leaf])
        return tree

    return changed


def exchanged(tree: Tree) -> Tree:
    params = tree["params"]
    return {**tree, "params": {**params, "fc2": params["fc3"], "fc3": params["fc2"]}}


def one_bit(kernel: np.ndarray) -> np.ndarray:
    bits = kernel.copy().view(np.uint32)
    bits[1, 1, 2, 3] ^= 1
    return bits.view(np.float32)


def flatten_left(kernel: np.ndarray) -> np.ndarray:
    """(out, C, H, W) merely transposed."""
    return kernel.reshape(9, 4, 8).transpose(1, 0, 2).reshape(36, 8)


MISTAKES: dict[str, tuple[Callable[[Tree], Tree], Twin, str, str]] = {
    "a transposed square matrix": (change("params/fc2/kernel", np.transpose), Twin(), "fc2", "params/fc2/kernel"),
    "layers of one shape exchanged": (exchanged, Twin(), "fc2", "params/fc3/kernel"),
    "a shifted statistic": (
        change("batch_stats/bn1/mean", lambda a: np.roll(a, 1)),
        Twin(),
        "bn1",
        "batch_stats/bn1/mean",
    ),
    "the flatten order left as it is": (
        change("params/fc1/kernel", flatten_left),
        Twin(),
        "fc1",
        "params/fc1/kernel",
    ),
    "another epsilon": (lambda tree: tree, Twin(epsilon=1e-3), "bn1", ""),
    "one bit of one weight": (change("params/conv2/kernel", one_bit), Twin(), "conv2", "params/conv2/kernel"),
    "a network that flattens otherwise": (lambda tree: tree, Twin(channels_first=True), "fc1", ""),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_every_planted_mistake_is_caught_and_its_layer_named(
    module: Any, variables: Tree, table: parity.RuleTable, mistake: str, tmp_path: Path
) -> None:
    spoil, twin, layer, leaf = MISTAKES[mistake]
    with pytest.raises(errors.CertificationError, match=f"first in {layer}:") as caught:
        parity.certify(module, twin.apply, spoil(variables), X, rules=table, output=tmp_path / "c.json")
    certificate: Any = caught.value.certificate
    assert json.loads((tmp_path / "c.json").read_text()) == certificate
    assert not certificate["passed"]
    before = certificate["layers"][: [entry["layer"] for entry in certificate["layers"]].index(layer)]
    assert all(entry["passed"] for entry in before)
    assert (leaf in certificate["weights"]["differing"]) if leaf else not certificate["weights"]["differing"]
    assert f"{layer} " in describe(certificate)


def test_a_weight_behind_dead_units_is_caught_by_its_bits(
    module: Any, variables: Tree, table: parity.RuleTable
) -> None:
    spoilt = change("params/conv1/kernel", lambda a: np.where(a == a.max(), np.nextafter(a, np.float32(9)), a))(
        variables
    )

    def apply(tree: Tree, x: Any) -> Any:
        right = jax.tree.map(lambda a: a.astype(x.dtype), variables["params"]["conv1"])
        return Twin().apply({**tree, "params": {**tree["params"], "conv1": right}}, x)

    with pytest.raises(
        errors.CertificationError, match=r"^these weights are not what the rules make .*: params/conv1/kernel"
    ):
        parity.certify(module, apply, jax.tree.map(jnp.asarray, spoilt), X, rules=table)


def test_a_wrong_gradient_is_caught(module: Any, variables: Tree) -> None:
    def apply(tree: Tree, x: Any) -> Any:
        params = {**tree["params"], "fc2": jax.lax.stop_gradient(tree["params"]["fc2"])}
        return Twin().apply({**tree, "params": params}, x)

    with pytest.raises(errors.CertificationError, match=r"of 13 gradients, first in params/fc2/"):
        parity.certify(module, apply, variables, X, gradients=True)


class Twice(nn.Module):
    """A dense layer applied to its own output."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        dense = nn.Dense(4, name="dense")
        return dense(nn.relu(dense(x)))


def test_every_call_of_a_layer_is_compared() -> None:
    class Module(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.dense = torch.nn.Linear(4, 4)

        def forward(self, x: Any) -> Any:
            return self.dense(torch.relu(self.dense(x)))

    torch.manual_seed(0)
    module, x = Module(), np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    dense = {"kernel": module.dense.weight.detach().numpy().T, "bias": module.dense.bias.detach().numpy()}
    certificate = parity.certify(module, Twice().apply, {"params": {"dense": dense}}, x)
    assert [(entry["layer"], entry["torch"]) for entry in certificate["layers"]] == [
        ("dense", "dense"),
        ("dense#2", "dense#2"),
        ("output", "output"),
    ]


def test_functions_without_flax_modules_are_judged_by_their_output() -> None:
    torch.manual_seed(0)
    linear = torch.nn.Linear(5, 3)

    def apply(tree: Tree, x: Any) -> Any:
        return x @ tree["w"].T + tree["b"]

    tree = {"w": linear.weight.detach().numpy(), "b": linear.bias.detach().numpy()}
    x = np.random.default_rng(0).normal(size=(70, 5)).astype(np.float32)
    certificate = parity.certify(linear, apply, tree, x)
    assert [entry["layer"] for entry in certificate["layers"]] == ["output"]
    with pytest.raises(errors.CertificationError, match="first in output:"):
        parity.certify(linear, lambda t, y: apply(t, y) * 1.0001, tree, x)


def test_a_network_that_cannot_compute_in_float64_is_named(module: Any, variables: Tree) -> None:
    def apply(tree: Tree, x: Any) -> Any:
        return Twin().apply(jax.tree.map(lambda a: a.astype(jnp.float32), tree), x.astype(jnp.float32))

    with pytest.raises(ConfigurationError, match="its layer conv1 computes in float32"):
        parity.certify(module, apply, variables, X)


def test_arguments_that_make_no_pair_are_refused(module: Any, variables: Tree, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="a PyTorch module first, got dict"):
        parity.certify({}, Twin().apply, variables, X)
    with pytest.raises(ConfigurationError, match="beside a JAX function"):
        parity.certify(module, "nice")
    with pytest.raises(EventShapeError, match="at least one event"):
        parity.certify(module, Twin().apply, variables, X[:0])
    with pytest.raises(ConfigurationError, match="give torch_inputs="):
        parity.certify(torch.nn.Linear(2, 2), Twin().apply, variables, X[0])


@pytest.mark.parametrize(
    "spoil", [lambda y: y[:, :2], lambda y: y.sum(), lambda y: y[None]], ids=["part", "sum", "axis"]
)
def test_an_output_of_another_shape_is_refused_though_the_layer_agrees(spoil: Callable[[Any], Any]) -> None:
    torch.manual_seed(0)
    module, dense = torch.nn.Sequential(torch.nn.Linear(5, 3)), nn.Dense(3, name="0")
    tree = {"kernel": module[0].weight.detach().numpy().T, "bias": module[0].bias.detach().numpy()}
    x = np.random.default_rng(0).normal(size=(70, 5)).astype(np.float32)
    assert parity.certify(module, dense.apply, {"params": tree}, x)["passed"]
    with pytest.raises(EventShapeError, match=r"output has shape .* PyTorch's has"):
        parity.certify(module, lambda t, y: spoil(dense.apply(t, y)), {"params": tree}, x)


def test_the_output_is_compared_whatever_a_layer_is_called() -> None:
    torch.manual_seed(0)
    linear = torch.nn.Linear(5, 3)
    module = torch.nn.Sequential()
    module.add_module("linear", linear)
    module.add_module("output", torch.nn.Identity())
    tree = {"w": linear.weight.detach().numpy(), "b": linear.bias.detach().numpy()}
    rules = RuleTable(
        (Rule(("linear.weight",), "w", "same"), Rule(("linear.bias",), "b", "same")),
    )
    x = np.random.default_rng(0).normal(size=(70, 5)).astype(np.float32)
    certificate = parity.certify(module, lambda t, y: y @ t["w"].T + t["b"], tree, x, rules=rules)
    assert [entry["layer"] for entry in certificate["layers"]] == ["output"]
