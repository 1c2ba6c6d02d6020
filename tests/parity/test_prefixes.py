"""What wrappers, outer modules and savers do to the names of a state: found, named, in no certificate's way."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest

import parity
from mathdnn_jax.errors import ConfigurationError
from parity import errors
from parity.rules.adapting import own_keys
from parity.rules.prefixes import expand, find_prefix, module_prefix
from parity.rules.table import Rule, RuleTable, parse_rules

from .tied_network import Tied, tied_module

torch = pytest.importorskip("torch", reason="a certificate runs the PyTorch network")

# Many small programs, each run a few times.
pytestmark = pytest.mark.usefixtures("quick_compilation")

X = np.random.default_rng(0).normal(size=(8, 6)).astype(np.float32)
WORDS = np.random.default_rng(0).integers(0, 7, (6, 4)).astype(np.int32)


class Network(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        return nn.Dense(3, name="fc2")(nn.tanh(nn.Dense(5, name="fc1")(x)))


class Bare(torch.nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = torch.nn.Linear(6, 5), torch.nn.Linear(5, 3)

    def forward(self, x: Any) -> Any:
        return self.fc2(torch.tanh(self.fc1(x)))


class Compiled(torch.nn.Module):  # type: ignore[misc, name-defined]
    """Its state has the names that `torch.compile` gives."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self._orig_mod = module

    def forward(self, x: Any) -> Any:
        return self._orig_mod(x)


@pytest.fixture(scope="module")
def bare() -> Any:
    torch.manual_seed(0)
    return Bare().eval()


@pytest.fixture(scope="module")
def variables() -> Any:
    return jax.eval_shape(Network().init, jax.random.key(0), X)


def put(prefix: str, state: dict[str, Any]) -> dict[str, Any]:
    return {prefix + name: value for name, value in state.items()}


def table_of(state: dict[str, Any], variables: Any, module: Any, **more: Any) -> parity.RuleTable:
    """The table, after it has converted the state, given it back, and certified the module."""
    table = parity.infer_rules(state, variables, apply=Network().apply, inputs=X, **more)
    assert parse_rules(table.text) == table
    converted = parity.convert(state, variables, table)
    back = parity.export(converted, table)
    assert back.keys() == state.keys() - table.ignored.keys()
    assert all(back[name].tobytes() == state[name].numpy().tobytes() for name in back)
    certificate = parity.certify(module, Network().apply, converted, X, rules=table)
    assert certificate["passed"]
    assert [entry["layer"] for entry in certificate["layers"]] == ["fc1", "fc2", "output"]
    assert certificate["unwatched"] == []
    return table


@pytest.mark.parametrize(
    "prefix", ["", "_fsdp_wrapped_module.", "encoder.", "net.encoder.", "module._orig_mod.model.encoder."]
)
def test_a_prefix_is_named_and_the_bare_module_certified(bare: Any, variables: Any, prefix: str) -> None:
    table = table_of(put(prefix, bare.state_dict()), variables, bare)
    assert table.prefix == prefix
    assert {key for rule in table.rules for key in rule.sources} == bare.state_dict().keys()


def test_averaged_models_have_a_count_beside_their_module(bare: Any, variables: Any) -> None:
    averaged = torch.optim.swa_utils.AveragedModel(bare)
    averaged.update_parameters(bare)
    for module in (bare, averaged):
        table = table_of(averaged.state_dict(), variables, module)
        assert table.prefix == "module."
        assert list(table.ignored) == ["n_averaged"]
    table = table_of(put("_orig_mod.", averaged.state_dict()), variables, bare)
    assert (table.prefix, list(table.ignored)) == ("_orig_mod.module.", ["_orig_mod.n_averaged"])
    # The bare module's table serves the averaged one.
    own = parity.infer_rules(bare.state_dict(), variables)
    converted = parity.convert(bare.state_dict(), variables, own)
    assert parity.certify(averaged, Network().apply, converted, X, rules=own)["passed"]


def test_wrappers_inside_a_network_do_not_hide_its_names(bare: Any, variables: Any) -> None:
    inside = {name.replace("fc1.", "fc1._fsdp_wrapped_module."): value for name, value in bare.state_dict().items()}
    table = table_of(put("_fsdp_wrapped_module.", inside), variables, bare)
    assert table.prefix == "_fsdp_wrapped_module."
    own = parity.infer_rules(bare.state_dict(), variables)
    converted = parity.convert(bare.state_dict(), variables, own)
    assert parity.certify(Compiled(bare), Network().apply, converted, X, rules=own)["passed"]


@pytest.mark.parametrize("outer", ["", "module."])
def test_what_is_left_out_can_be_a_pattern(bare: Any, variables: Any, outer: str) -> None:
    state = put(f"{outer}encoder.", bare.state_dict()) | put(f"{outer}decoder.", Bare().state_dict())
    for pattern in ("decoder.*", f"{outer}decoder.*", "*decoder*"):
        table = table_of(state, variables, bare, ignore=[pattern])
        assert table.prefix == f"{outer}encoder."
        assert table.ignored == {f"{outer}decoder.{name}": "ignored deliberately" for name in bare.state_dict()}
    with pytest.raises(errors.MissingKeysError, match=r"listed as ignored, but not there: encodr\.\*"):
        parity.infer_rules(state, variables, ignore=["encodr.*"])
    with pytest.raises(ConfigurationError, match=r"write \['decoder\.\*'\]"):
        parity.infer_rules(state, variables, ignore="decoder.*")


def test_conversion_leaves_out_by_patterns_too(bare: Any, variables: Any) -> None:
    table = parity.infer_rules(bare.state_dict(), variables)
    state = bare.state_dict() | {f"extra.{k}": torch.ones(2) for k in range(3)}
    converted = parity.convert(state, variables, table, ignore=["extra.?"])
    np.testing.assert_array_equal(converted["params"]["fc1"]["kernel"], state["fc1.weight"].numpy().T)
    with pytest.raises(errors.UnexpectedKeysError, match=r"unexpected: extra\.2 "):
        parity.convert(state, variables, table, ignore=["extra.[01]"])
    with pytest.raises(errors.MissingKeysError, match=r"not there: extr\.\*"):
        parity.convert(state, variables, table, ignore=["extra.*", "extr.*"])
    with pytest.raises(errors.DoublyUsedKeysError, match=r"fc1\.bias is both used and ignored"):
        parity.convert(state, variables, table, ignore=["extra.*", "*.bias"])
    params = parity.models.MODELS["nice"].build(dim=4, width=3, depth=1, couplings=1).init(jax.random.key(0))
    nice = put("module.", parity.export(params)) | {"n_averaged": np.array(3), "module.loss.weight": np.ones(2)}
    again = parity.convert(nice, "nice", ignore=["loss.*"])
    jax.tree.map(np.testing.assert_array_equal, again, params)


def test_names_that_only_look_like_prefixes_stay() -> None:
    assert find_prefix(["module.a", "module.b"]) == "module."
    assert find_prefix(["module.a", "n_averaged"]) == "module."
    assert find_prefix(["model.a", "n_averaged"]) == find_prefix(["module.a", "other"]) == find_prefix([]) == ""
    assert module_prefix(["encoder.fc1", "encoder.fc2"], ["fc1", "fc2"]) == "encoder."
    assert module_prefix(["encoder.fc1", "encoder.fc2"], ["encoder/fc1", "encoder/fc2"]) == ""
    assert module_prefix(["net.encoder.a", "net.encoder.b"], ["encoder/a", "encoder/b"]) == "net."
    assert module_prefix(["layers.0", "layers.1"], ["layers_0", "layers_1"]) == ""
    assert module_prefix(["encoder", "encoder.fc"], ["a", "b"]) == module_prefix(["fc"], ["a"]) == ""
    assert expand(["a.*", "b"], ["a.1", "a.2", "b", "bc"]) == ["a.1", "a.2", "b"]
    assert expand(["a[0]"], ["a[0]", "a0"]) == ["a[0]"]


def test_of_tied_keys_a_file_may_have_only_one() -> None:
    torch.manual_seed(0)
    module = tied_module().eval()
    whole = module.state_dict()
    shapes = jax.eval_shape(Tied().init, jax.random.key(0), WORDS)
    states = {left: {name: value for name, value in whole.items() if name != left} for left in ("", "head.weight")}
    tables = {
        left: parity.infer_rules(state, shapes, apply=Tied().apply, inputs=WORDS) for left, state in states.items()
    }
    assert tables[""].tied == {"head.weight": "embed.weight"}
    assert tables["head.weight"].tied == {}
    states["embed.weight"] = {name: value for name, value in whole.items() if name != "embed.weight"}
    count = 0
    for table in tables.values():
        for left in states if table.tied else list(states)[:2]:
            converted = parity.convert(states[left], shapes, table)
            np.testing.assert_array_equal(converted["params"]["embed"]["embedding"], whole["head.weight"].numpy())
            certificate = parity.certify(module, Tied().apply, converted, WORDS, rules=table)
            assert certificate["passed"]
            count += 1
    assert count == 5
    with pytest.raises(errors.MissingKeysError, match=r"missing: fc\.bias"):
        parity.convert({k: v for k, v in states[""].items() if k != "fc.bias"}, shapes, tables[""])
    with pytest.raises(errors.MissingKeysError, match=r"missing: embed\.weight"):
        parity.convert({"fc.weight": whole["fc.weight"], "fc.bias": whole["fc.bias"]}, shapes, tables[""])


def test_a_key_without_a_place_is_tied_only_to_what_it_repeats() -> None:
    state = {"fc.weight": np.arange(12, dtype=np.float32).reshape(3, 4), "fc.bias": np.arange(3, dtype=np.float32)}
    tree = {"params": {"fc": {"kernel": np.empty((4, 3), np.float32), "bias": np.empty(3, np.float32)}}}
    table = parity.infer_rules(state, tree)
    parity.convert({**state, "again.weight": state["fc.weight"].copy()}, tree, table)
    for extra in (
        state["fc.weight"] + 1,
        state["fc.weight"].T,
        state["fc.weight"].astype(np.float64),
        state["fc.bias"].copy(),
    ):
        with pytest.raises(errors.UnexpectedKeysError, match="unexpected: again"):
            parity.convert({**state, "again": extra}, tree, table)
    zeros = {**state, "fc.weight": np.zeros((3, 4), np.float32)}
    with pytest.raises(errors.UnexpectedKeysError, match="unexpected: again"):
        parity.convert({**zeros, "again": zeros["fc.weight"]}, tree, table)


def test_the_own_keys_of_the_bare_module_and_of_an_outer_one() -> None:
    table = RuleTable(tuple(Rule((f"net.{k}.weight",), f"params/{k}", "same") for k in (0, 2)))
    names = ["net.0.weight", "net.2.weight"]
    assert own_keys(table, [], names) == dict(zip(names, names, strict=True))
    assert own_keys(table, [], ["0.weight", "2.weight"]) == dict(zip(names, ["0.weight", "2.weight"], strict=True))
    assert own_keys(table, [], ["net.0.weight"]) == {}
    # The one weight of another module cannot be both.
    assert own_keys(table, [], ["weight"]) == {}
