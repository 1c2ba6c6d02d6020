from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mathdnn_jax
import parity
from parity import errors
from parity.models import MODELS, target_shapes
from parity.rules.conversion import check_rule_table
from parity.rules.layouts import LAYOUTS
from parity.rules.tree import flatten

from .network_states import CONFIGS, State, network_state, shapes

SMALL_NET = st.fixed_dictionaries(
    {
        "channels": st.integers(1, 4),
        "hidden": st.integers(1, 5),
        "classes": st.integers(1, 4),
        "in_channels": st.integers(1, 3),
        "image": st.integers(1, 6),
    }
)
NET_IN_NET = st.fixed_dictionaries(
    {
        "channels": st.lists(st.integers(1, 3), min_size=5, max_size=5),
        "hidden": st.integers(1, 5),
        "classes": st.integers(1, 4),
        "in_channels": st.integers(1, 3),
        "image": st.integers(15, 18),
    }
)
CONV_RELU = st.fixed_dictionaries({"in_chan": st.integers(1, 3), "out_chan": st.integers(1, 4), "f": st.integers(1, 4)})
DRAWN: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "small-net": SMALL_NET,
    "small-net-folded": SMALL_NET,
    "net1": NET_IN_NET,
    "net2": NET_IN_NET,
    "conv-relu-bn": CONV_RELU,
    "conv-relu-sign-bias": CONV_RELU,
}


def same(a: State, b: State) -> bool:
    return list(a) == list(b) and all(
        a[name].dtype == b[name].dtype and a[name].shape == b[name].shape and a[name].tobytes() == b[name].tobytes()
        for name in a
    )


@pytest.mark.parametrize("model", list(CONFIGS))
@given(data=st.data(), seed=st.integers(0, 2**31 - 1))
@settings(max_examples=12)
def test_round_trip_is_bit_exact_at_any_size(model: str, data: st.DataObject, seed: int) -> None:
    config = data.draw(DRAWN[model])
    state = network_state(model, seed, config=config)
    assert {key for rule in MODELS[model].table(config).rules for key in rule.sources} == set(state)
    variables = parity.convert(state, model)
    assert MODELS[model].infer_config(state) == config
    assert MODELS[model].params_config(flatten(variables)) == config
    back = parity.export(variables, model)
    assert same(dict(sorted(back.items())), dict(sorted(state.items())))


@pytest.mark.parametrize("model", [name for name in CONFIGS if name != "conv-relu-sign-bias"])
def test_exports_have_pytorchs_order(model: str) -> None:
    state = network_state(model)
    assert same(parity.export(parity.convert(state, model), model), state)


@pytest.mark.parametrize("model", list(CONFIGS))
def test_variables_are_those_of_the_networks_own_init(model: str) -> None:
    specification = MODELS[model]
    variables = parity.convert(network_state(model), model)
    assert {path: leaf.shape for path, leaf in flatten(variables).items()} == target_shapes(
        specification, CONFIGS[model]
    )
    events = specification.events(CONFIGS[model]).example
    network = specification.build(**CONFIGS[model])
    initial = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((2, *events)))
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), variables) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), initial
    )
    # What was never in PyTorch can go there.
    fresh = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), initial)
    assert parity.export(fresh, model).keys() == network_state(model).keys()


def test_each_weight_lands_where_the_rules_say() -> None:
    state = network_state("small-net")
    variables = parity.convert(state, "small-net")
    params, stats = variables["params"], variables["batch_stats"]
    kernel, weight = np.asarray(params["conv2_0"]["kernel"]), state["conv2.0.weight"]
    for o, i, h, w in np.ndindex(weight.shape):
        assert kernel[h, w, i, o] == weight[o, i, h, w]
    # PyTorch flattens C, H, W, this network H, W, C; the activation stays where it is.
    kernel, weight = np.asarray(params["fc1_0"]["kernel"]), state["fc1.0.weight"]
    for c, h, w in np.ndindex(4, 5, 5):
        np.testing.assert_array_equal(kernel[(h * 5 + w) * 4 + c], weight[:, (c * 5 + h) * 5 + w])
    np.testing.assert_array_equal(params["fc2_0"]["kernel"], state["fc2.0.weight"].T)
    for layer, module in (("conv1_1", "conv1.1"), ("conv2_1", "conv2.1"), ("fc1_1", "fc1.1")):
        np.testing.assert_array_equal(params[layer]["scale"], state[f"{module}.weight"])
        np.testing.assert_array_equal(params[layer]["bias"], state[f"{module}.bias"])
        np.testing.assert_array_equal(stats[layer]["mean"], state[f"{module}.running_mean"])
        np.testing.assert_array_equal(stats[layer]["var"], state[f"{module}.running_var"])
        assert stats[layer]["num_batches_tracked"].dtype == np.int32
        assert int(stats[layer]["num_batches_tracked"]) == int(state[f"{module}.num_batches_tracked"])
    flat_order = [name for name, layer in mathdnn_jax.small_net().layers if isinstance(layer, mathdnn_jax.nets.Flatten)]
    assert flat_order == ["flatten"]
    assert dict(mathdnn_jax.small_net().layers)["flatten"] == mathdnn_jax.nets.Flatten("last")


@given(
    sizes=st.tuples(*[st.integers(1, 4)] * 4),
    seed=st.integers(0, 2**31 - 1),
)
def test_layouts_only_move_entries(sizes: tuple[int, int, int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    out, channels, height, width = sizes
    dense = rng.normal(size=(out, channels * height * width))
    for name, array, shape in (
        ("flattened", dense, (height * width * channels, out)),
        ("convolution", rng.normal(size=sizes), (height, width, channels, out)),
    ):
        layout, options = LAYOUTS[name], {"channels": channels} if name == "flattened" else {}
        target = layout.to_target(array, shape, options)
        assert target.shape == shape
        assert layout.source_shape(shape, options) == array.shape
        np.testing.assert_array_equal(layout.to_source(target, array.shape, options), array)
        np.testing.assert_array_equal(np.sort(target, axis=None), np.sort(array, axis=None))
    x = rng.normal(size=(channels, height, width))
    kernel = LAYOUTS["flattened"].to_target(dense, (dense.shape[1], out), {"channels": channels})
    product = np.moveaxis(x, 0, -1).ravel() @ kernel
    np.testing.assert_allclose(product, dense @ x.ravel(), rtol=0, atol=1e-13)


@pytest.mark.parametrize("model", list(CONFIGS))
def test_tables_fill_each_leaf_once(model: str) -> None:
    specification = MODELS[model]
    table = specification.table(CONFIGS[model])
    check_rule_table(table, target_shapes(specification, CONFIGS[model]), ())
    assert {key for rule in table.rules for key in rule.sources} == set(shapes(model, CONFIGS[model]))


def test_other_types_are_asked_for_weight_by_weight_and_counts_stay() -> None:
    state = network_state("small-net")
    half = parity.convert(state, "small-net", dtype=jnp.bfloat16)
    dtypes = {path.rsplit("/", 1)[-1]: leaf.dtype for path, leaf in flatten(half).items()}
    assert dtypes.pop("num_batches_tracked") == np.int32
    assert set(dtypes.values()) == {np.dtype(jnp.bfloat16)}
    with jax.enable_x64(True):
        double = network_state("small-net", dtype=np.float64)
        assert same(parity.export(parity.convert(double, "small-net"), "small-net"), double)


def drop(name: str) -> Callable[[State], State]:
    return lambda state: {key: array for key, array in state.items() if key != name}


def put(name: str, array: Any) -> Callable[[State], State]:
    return lambda state: {**state, name: np.asarray(array)}


COUNT = "conv1.1.num_batches_tracked"
BAD: dict[str, tuple[str, Callable[[State], State], type[Exception], str]] = {
    "no running mean": (
        "small-net",
        drop("conv2.1.running_mean"),
        errors.MissingKeysError,
        r"missing: conv2\.1\.running_mean \(4,\)",
    ),
    "no count": ("small-net", drop(COUNT), errors.MissingKeysError, COUNT),
    "a float count": ("small-net", put(COUNT, 1.0), errors.UnsupportedDtypeError, "is float64, expected int64\n?$"),
    "a negative count": ("small-net", put(COUNT, -1), errors.UnsupportedDtypeError, "-1, expected a count"),
    "a great count": ("small-net", put(COUNT, 2**31), errors.UnsupportedDtypeError, "2147483648, expected a count"),
    "a count with an axis": ("small-net", put(COUNT, [1]), errors.ShapeMismatchError, r"is \(1,\), expected \(\)"),
    "an integer weight": (
        "net2",
        put("classifier.0.bias", np.zeros(6, np.int64)),
        errors.UnsupportedDtypeError,
        "is int64, expected float32",
    ),
    "another momentum": ("small-net", put("momentum", 0.1), errors.UnexpectedKeysError, "unexpected: momentum"),
    "a NaN variance": (
        "small-net",
        put("fc1.1.running_var", np.full(6, np.nan, np.float32)),
        errors.NonFiniteWeightsError,
        "6 NaN",
    ),
    "a channel too few": (
        "small-net",
        put("conv2.0.weight", np.zeros((4, 3, 3, 3), np.float32)),
        errors.ShapeMismatchError,
        r"conv2\.0\.weight is \(4, 3, 3, 3\), expected \(4, 4, 3, 3\)",
    ),
    "no square image": (
        "small-net",
        put("fc1.0.weight", np.zeros((6, 104), np.float32)),
        errors.ShapeMismatchError,
        r"fc1\.0\.weight is \(6, 104\), expected \(6, 100\)",
    ),
    "a transposed linear layer": (
        "net1",
        lambda state: {**state, "classifier.4.weight": state["classifier.4.weight"].T},
        errors.ShapeMismatchError,
        r"is \(6, 4\), expected",
    ),
    "an oblong kernel": (
        "net2",
        put("classifier.0.weight", np.zeros((6, 5, 3, 2), np.float32)),
        errors.ShapeMismatchError,
        r"\(6, 5, 3, 2\), expected \(6, 5, 3, 3\)",
    ),
    "no signs": ("conv-relu-sign-bias", drop("S"), errors.MissingKeysError, r"missing: S \(4,\)"),
    "without batch norms": (
        "small-net",
        lambda _: network_state("small-net-folded"),
        errors.WrongModelError,
        "take model 'small-net-folded', since this has none",
    ),
    "with batch norms": (
        "small-net-folded",
        lambda _: network_state("small-net"),
        errors.WrongModelError,
        "take model 'small-net', since this has them",
    ),
    "net1 for net2": ("net2", lambda _: network_state("net1"), errors.WrongModelError, "take 'net1'"),
    "net2 for net1": ("net1", lambda _: network_state("net2"), errors.WrongModelError, "take 'net2'"),
    "another network": ("net1", lambda _: network_state("small-net"), errors.WrongModelError, "not a net1.*conv1"),
    "nothing": ("conv-relu-bn", lambda _: {}, errors.WrongModelError, "not a conv-relu-bn.*found nothing"),
}


@pytest.mark.parametrize(("model", "spoil", "error", "words"), BAD.values(), ids=BAD.keys())
def test_bad_states_are_refused(
    model: str, spoil: Callable[[State], State], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        parity.convert(spoil(network_state(model)), model)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (lambda v: v["params"]["fc1_0"].pop("kernel"), errors.WrongModelError, "not a small-net.*found params/"),
        (lambda v: v["params"].pop("conv1_1"), errors.MissingKeysError, "params/conv1_1/scale"),
        (lambda v: v["params"]["conv1_0"].pop("bias"), errors.MissingKeysError, "params/conv1_0/bias"),
        (lambda v: v.pop("batch_stats"), errors.MissingKeysError, "batch_stats/fc1_1/var"),
        (lambda v: v["params"].update(extra={"x": np.zeros(1)}), errors.UnexpectedKeysError, "params/extra/x"),
        (
            lambda v: v["batch_stats"]["conv1_1"].update(num_batches_tracked=np.float32(3)),
            errors.UnsupportedDtypeError,
            "is float32, expected int32",
        ),
        (
            lambda v: v["params"]["conv2_0"].update(kernel=np.zeros((4, 4, 3, 3), np.float32)),
            errors.ShapeMismatchError,
            r"\(4, 4, 3, 3\), expected \(3, 3, 4, 4\)",
        ),
        (lambda v: v.clear(), errors.WrongModelError, "found nothing"),
    ],
)
def test_bad_variables_are_not_exported(
    spoil: Callable[[dict[str, Any]], object], error: type[Exception], words: str
) -> None:
    variables = parity.convert(network_state("small-net"), "small-net")
    spoil(variables)
    with pytest.raises(error, match=words):
        parity.export(variables, "small-net")


@pytest.mark.parametrize("model", list(CONFIGS))
def test_files_bring_everything_back(tmp_path: Path, model: str) -> None:
    state = network_state(model)
    path = tmp_path / "network.safetensors"
    parity.save_params(path, parity.convert(state, model), model)
    restored = parity.restore(path, model)
    assert same(dict(sorted(restored.state.items())), dict(sorted(state.items())))
    assert restored.config == CONFIGS[model]
    learnt = [array.size for name, array in state.items() if "running" not in name and "tracked" not in name]
    assert restored.parameters == sum(learnt)
