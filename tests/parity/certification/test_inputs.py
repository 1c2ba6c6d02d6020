"""Several inputs, of several kinds, and modules that are particular about theirs."""

from __future__ import annotations

import warnings
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import parity
from mathdnn_jax.errors import ConfigurationError, EventShapeError
from parity import errors
from parity.certification.inputs import as_tensors, in_torch_layout, read_arguments
from parity.rules.table import Rule, RuleTable

from .pairs import RULES, Dense, certify, converted, dense_variables, normal, torch_dense

torch = pytest.importorskip("torch", reason="a certificate runs the PyTorch network")

# Many small programs, each run a few times.
pytestmark = pytest.mark.usefixtures("quick_compilation", "no_search")
X, Y = normal(64, 4), normal(64, 4, seed=1)


@pytest.mark.parametrize("inputs", [(X, Y), {"x": X, "y": Y}], ids=["tuple", "dict"])
def test_several_inputs_go_to_both_networks(inputs: Any) -> None:
    module = torch_dense(lambda h, y: h - y)
    tree = dense_variables(module)

    def run(network: Dense, given: Any, **options: Any) -> Any:
        return parity.certify(module, network.apply, tree, given, rules=RULES, gradients=True, **options)

    certificate = run(Dense(lambda h, y: h - y), inputs)
    names = [str(name) for name in (inputs if isinstance(inputs, dict) else range(2))]
    assert certificate["inputs"]["shape"] == {name: [64, 4] for name in names}
    slopes = [entry["layer"] for entry in certificate["gradients"]]
    assert slopes == [f"inputs/{name}" for name in names] + ["params/dense/kernel", "params/dense/bias"]
    with pytest.raises(errors.CertificationError, match="between dense and the output"):
        run(Dense(lambda h, y: y - h), inputs)
    # PyTorch's own inputs are another array here, in the same places.
    other = {**inputs, "y": Y + 1} if isinstance(inputs, dict) else (X, Y + 1)
    with pytest.raises(errors.CertificationError, match="between dense and the output"):
        parity.certify(module, Dense(lambda h, y: h - y).apply, tree, inputs, torch_inputs=other, rules=RULES)


class Words(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
    """Embeddings, weighted and masked: whole numbers, floating-point numbers, truth values."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.dense = torch.nn.Embedding(11, 4), torch.nn.Linear(4, 3)

    def forward(self, words: Any, weights: Any, kept: Any) -> Any:
        return (self.dense(self.embed(words) * weights[..., None]) * kept[..., None]).sum(1)


class FlaxWords(nn.Module):
    @nn.compact
    def __call__(self, words: Any, weights: Any, kept: Any) -> Any:
        h = nn.Embed(11, 4, name="embed")(words) * weights[..., None]
        return jnp.where(kept[..., None], nn.Dense(3, name="dense")(h), 0).sum(1)


def test_whole_numbers_and_truth_values_stay_what_they_are() -> None:
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    inputs = generator.integers(0, 11, (64, 5)), normal(64, 5).astype(np.float64), generator.random((64, 5)) < 0.7
    module, network = Words(), FlaxWords()
    certificate = parity.certify(module, network.apply, converted(module, network, *inputs), inputs, gradients=True)
    # There are no gradients with respect to the words and to what is kept.
    assert [e["layer"] for e in certificate["gradients"] if e["layer"].startswith("inputs")] == ["inputs/1"]
    read = read_arguments(inputs)
    assert [array.dtype for array in read.arrays.values()] == [np.int64, np.float32, np.bool_]


def test_what_is_no_array_is_passed_as_it_is() -> None:
    def then(h: Any, y: Any = 1, train: bool = True) -> Any:
        assert train is False
        return h if y is None else -h

    assert certify(then, then, {"x": X, "y": None, "train": False})["passed"]
    assert certify(then, then, (X, None, False))["inputs"]["shape"] == {"0": [64, 4]}


def test_arguments_may_be_nested() -> None:
    def torch_then(h: Any, graph: Any) -> Any:
        return h + graph["edges"][0] - graph["edges"][1]

    assert certify(torch_then, torch_then, (X, {"edges": [Y, 2.0]}))["passed"]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ((), "no array"),
        ({"x": None}, "no array"),
        ((X, X[:0]), r"\(0, 4\)"),
        (np.float32(3), r"shape \(\)"),
        ("x", "no array"),
    ],
)
def test_inputs_without_events_are_refused(inputs: Any, words: str) -> None:
    with pytest.raises(EventShapeError, match=f"at least one event, got .*{words}"):
        certify(lambda h: h, lambda h: h, inputs)


def test_three_axes_of_any_input_need_torch_inputs() -> None:
    with pytest.raises(ConfigurationError, match=r"inputs '1' of shape \(64, 4, 4\) .* give torch_inputs="):
        certify(lambda h, y: h, lambda h, y: h, (X, normal(64, 4, 4)))
    moved = in_torch_layout(read_arguments((normal(2, 3, 4, 5), np.ones((2, 3, 4, 5), bool)))).arrays
    assert [array.shape for array in moved.values()] == [(2, 5, 3, 4), (2, 3, 4, 5)]


def test_gradients_need_the_same_inputs_on_both_sides() -> None:
    x = normal(8, 4, 4)

    def run(torch_inputs: Any) -> Any:
        return certify(
            lambda h, *_: h.sum((1, 2)), lambda h: h.sum((1, 2)), x, torch_inputs=torch_inputs, gradients=True
        )

    assert run(x)["passed"]
    with pytest.raises(errors.AmbiguousLayoutError, match="not known which gradients correspond"):
        run(np.nextafter(x, np.float32(9)))
    with pytest.raises(ConfigurationError, match="got 1 of floating-point numbers for JAX and 2 for PyTorch"):
        run((x, x))
    # An argument by its position is one by its name.
    assert run({"x": x})["passed"]


def test_frozen_weights_have_gradients_too() -> None:
    module = torch_dense(torch.tanh).requires_grad_(False)
    certificate = parity.certify(module, Dense(jnp.tanh).apply, dense_variables(module), X, rules=RULES, gradients=True)
    slopes = {entry["layer"]: entry["greatest_magnitude"] for entry in certificate["gradients"]}
    assert slopes.keys() == {"inputs", "params/dense/kernel", "params/dense/bias"}
    assert min(slopes.values()) > 0
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_a_module_that_pytorch_cannot_differentiate_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"cannot differentiate this module: .* by an inplace"):
        certify(lambda h: h.relu_().mul_(h), lambda h: jax.nn.relu(h) ** 2, gradients=True)


def test_a_module_that_does_not_take_the_inputs_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"does not run on inputs of float32 \(64, 5\): mat1 and mat2"):
        certify(lambda h: h, lambda h: h, X, torch_inputs=normal(64, 5))


def test_tensors_have_pytorchs_own_strides() -> None:
    odd = np.moveaxis(normal(8, 6, 5, 1), -1, 1)
    (tensor,) = as_tensors({"": odd}).values()
    assert tensor.stride() == torch.empty(8, 1, 6, 5).stride() != torch.from_numpy(odd).stride()


def test_a_view_after_a_convolution_of_one_channel() -> None:
    class Module(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.dense = torch.nn.Conv2d(1, 4, 3), torch.nn.Linear(36, 3)

        def forward(self, x: Any) -> Any:
            return self.dense(self.conv(x).view(-1, 36))

    torch.manual_seed(0)
    module, x = Module(), normal(64, 5, 5, 1)
    network = nn.Sequential([nn.Conv(4, (3, 3), padding="VALID"), lambda y: y.reshape(len(y), -1), nn.Dense(3)])
    assert parity.certify(module, network.apply, converted(module, network, x), x, gradients=True)["passed"]


def test_modules_that_work_in_place_leave_the_inputs_alone() -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.ReLU(inplace=True), torch.nn.Linear(4, 3), torch.nn.Tanh())
    network, before = nn.Sequential([nn.relu, nn.Dense(3), jnp.tanh]), X.copy()
    certificate = parity.certify(module, network.apply, converted(module, network, X), X, gradients=True)
    assert certificate["left_out"] == ["0", "2"]
    np.testing.assert_array_equal(X, before)


def kept(module: Any) -> dict[str, Any]:
    """All that could be changed in a module: its state, what the norms keep beside it, and its mode."""
    tensors = {f"{name} {key}": value.detach().clone() for name, part in module.named_modules()
               for key, value in vars(part).items() if isinstance(value, torch.Tensor)}  # fmt: skip
    return {**{name: value.clone() for name, value in module.state_dict().items()}, **tensors, "mode": module.training}


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(value, b[name]) if isinstance(value, torch.Tensor) else value == b[name]
        for name, value in a.items()
    )


def test_old_weight_norm_is_certified_and_not_changed() -> None:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.nn.Sequential(torch.nn.utils.weight_norm(torch.nn.Linear(4, 3)))
    network = nn.Sequential([nn.Dense(3)])
    variables = converted(module, network, X)
    module.train()(torch.from_numpy(X))
    before = kept(module)
    assert "0 weight" in before
    assert parity.certify(module, network.apply, variables, X)["passed"]
    assert same(kept(module), before)
    module[0].weight_g.data *= 1.5
    with pytest.raises(errors.CertificationError, match="not what the rules make"):
        parity.certify(module, network.apply, variables, X)


def test_old_spectral_norm_is_certified_and_not_changed() -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.utils.spectral_norm(torch.nn.Linear(4, 3)))
    # In train mode every call is a step of its power iteration.
    module(torch.from_numpy(X))
    before = kept(module)
    rules = RuleTable(tuple(Rule((key,), key.removeprefix("0."), "same") for key in module.state_dict()))
    variables = {key.removeprefix("0."): value.numpy() for key, value in module.state_dict().items()}

    def apply(tree: Any, x: Any, power: int = 1) -> Any:
        weight, u, v = (tree[f"weight_{name}"] for name in ("orig", "u", "v"))
        return x @ (weight / (u @ weight @ v) ** power).T + tree["bias"]

    certificate = parity.certify(module, apply, variables, X, rules=rules, gradients=False)
    assert certificate["unwatched"] == ["0"]
    assert same(kept(module), before)
    with pytest.raises(errors.CertificationError, match="first in output"):
        parity.certify(module, lambda tree, x: apply(tree, x, 2), variables, X, rules=rules)


def test_a_module_that_cannot_be_watched_or_copied_is_named() -> None:
    module, network = torch.nn.Sequential(torch.nn.Linear(4, 3)), nn.Sequential([nn.Dense(3)])
    variables = converted(module, network, X)
    module.handle = iter([])
    module.file = open(__file__)  # noqa: PTH123, SIM115
    with pytest.raises(ConfigurationError, match="cannot be copied, which a certificate needs"):
        parity.certify(module, network.apply, variables, X)
    module.file.close()
    del module.file, module.handle
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.trace(module.eval(), torch.from_numpy(X))
    with pytest.raises(ConfigurationError, match="give the module that was scripted or traced"):
        parity.certify(scripted, network.apply, variables, X)


@pytest.mark.parametrize("inputs", [(X, {"a/b": X, "a": {"b": Y}}), ({1: X, "1": Y},)], ids=["slashes", "numbers"])
def test_two_inputs_of_one_name_cannot_be_told_apart(inputs: Any) -> None:
    with pytest.raises(ConfigurationError, match="two arrays among the inputs are called"):
        read_arguments(inputs)
