from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import parity
from mathdnn_jax import nice
from mathdnn_jax.errors import ConfigurationError
from parity import errors
from parity.models import MODELS, target_shapes
from parity.rules.conversion import check_rule_table
from parity.rules.table import Rule, RuleTable
from parity.rules.tree import flatten

from .twins import SMALL, State, small_state

configs = st.fixed_dictionaries(
    {
        "dim": st.sampled_from([2, 4, 10]),
        "width": st.integers(1, 4),
        "depth": st.integers(1, 4),
        "couplings": st.integers(1, 3),
    }
)


@given(config=configs, seed=st.integers(0, 2**31 - 1))
def test_round_trip_is_bit_exact(config: dict[str, int], seed: int) -> None:
    state = small_state(seed, config=config)
    params = parity.convert(state)
    shapes = jax.eval_shape(nice(**config).init, jax.random.key(0))
    assert jax.tree.map(lambda leaf: leaf.shape, params) == jax.tree.map(lambda leaf: leaf.shape, shapes)
    back = parity.export(params)
    assert list(back) == list(state)
    for name, array in state.items():
        assert back[name].dtype == array.dtype
        assert back[name].tobytes() == array.tobytes()


def test_each_weight_lands_where_the_rules_say() -> None:
    state = small_state()
    params = parity.convert(state)
    np.testing.assert_array_equal(params["coupling_2"]["dense_0"]["kernel"], state["coupling.2.in_block.0.weight"].T)
    np.testing.assert_array_equal(params["coupling_2"]["dense_2"]["kernel"], state["coupling.2.mid_block.1.0.weight"].T)
    np.testing.assert_array_equal(params["coupling_2"]["dense_3"]["bias"], state["coupling.2.out_block.bias"])
    np.testing.assert_array_equal(params["scaling"]["log_scale"], state["scaling.scale"][0])


def test_the_source_may_change_afterwards() -> None:
    state = small_state()
    params = parity.convert(state)
    before = np.array(params["scaling"]["log_scale"])
    state["scaling.scale"][:] = 7
    np.testing.assert_array_equal(params["scaling"]["log_scale"], before)


def test_torch_tensors_are_taken_too() -> None:
    torch = pytest.importorskip("torch", reason="a state dict of PyTorch tensors needs PyTorch")
    state = small_state()
    tensors = {name: torch.nn.Parameter(torch.from_numpy(array)) for name, array in state.items()}
    assert all(parity.export(parity.convert(tensors))[name].tobytes() == a.tobytes() for name, a in state.items())


def drop(*names: str) -> Callable[[State], State]:
    return lambda state: {name: array for name, array in state.items() if name not in names}


def put(**arrays: np.ndarray) -> Callable[[State], State]:
    return lambda state: {**state, **{name.replace("__", "."): array for name, array in arrays.items()}}


def change(name: str, function: Callable[[np.ndarray], np.ndarray]) -> Callable[[State], State]:
    return lambda state: {**state, name: function(state[name])}


def poison(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flat[1:3] = (np.nan, np.inf)
    return array


WEIGHT, BIAS = "coupling.1.mid_block.0.0.weight", "coupling.1.mid_block.0.0.bias"

BAD: dict[str, tuple[Callable[[State], State], type[Exception], list[str]]] = {
    "two missing": (drop(WEIGHT, "scaling.scale"), errors.MissingKeysError, [WEIGHT, "scaling.scale", "2 problem"]),
    "two unexpected": (put(extra=np.zeros(1), step=np.zeros(2)), errors.UnexpectedKeysError, ["extra", "step"]),
    "a coupling number left out": (
        lambda state: {name.replace("coupling.1.", "coupling.9."): array for name, array in state.items()},
        errors.MissingKeysError,
        ["missing: coupling.1.in_block.0.weight", "unexpected: coupling.9.in_block.0.weight"],
    ),
    "two wrong shapes": (
        lambda state: {**state, WEIGHT: np.zeros((5, 4), np.float32), BIAS: np.zeros(3, np.float32)},
        errors.ShapeMismatchError,
        [f"{WEIGHT} is (5, 4), expected (5, 5)", f"{BIAS} is (3,), expected (5,)"],
    ),
    "scale without its axis": (
        change("scaling.scale", np.ravel),
        errors.ShapeMismatchError,
        ["is (6,), expected (1, 6)"],
    ),
    "float16": (change(WEIGHT, lambda a: a.astype(np.float16)), errors.UnsupportedDtypeError, ["float16", WEIGHT]),
    "bfloat16": (change(WEIGHT, lambda a: a.astype(ml_dtypes.bfloat16)), errors.UnsupportedDtypeError, ["bfloat16"]),
    "integers": (change(BIAS, lambda a: a.astype(np.int64)), errors.UnsupportedDtypeError, ["int64", BIAS]),
    "float64 without 64-bit types": (
        change(BIAS, lambda a: a.astype(np.float64)),
        errors.UnsupportedDtypeError,
        ["float64"],
    ),
    "NaN": (change(WEIGHT, poison), errors.NonFiniteWeightsError, [WEIGHT, "2 NaN or infinite", "first at (0, 1)"]),
    "several kinds": (
        lambda state: put(extra=np.zeros(1))(change(WEIGHT, poison)(drop(BIAS)(state))),
        errors.MissingKeysError,
        [f"missing: {BIAS}", "unexpected: extra", f"not finite: {WEIGHT}", "3 problem"],
    ),
    "another model": (
        lambda _: {"conv1.0.weight": np.zeros((1, 1)), "fc1.0.bias": np.zeros(1)},
        errors.WrongModelError,
        ["not a NICE", "conv1.0.weight"],
    ),
    "nothing": (lambda _: {}, errors.WrongModelError, ["found nothing"]),
}


@pytest.mark.parametrize(("spoil", "error", "words"), BAD.values(), ids=BAD.keys())
def test_bad_states_are_refused_with_all_their_problems(
    spoil: Callable[[State], State], error: type[Exception], words: list[str]
) -> None:
    with pytest.raises(errors.ConversionError) as caught:
        parity.convert(spoil(small_state()))
    assert type(caught.value) is error
    for word in words:
        assert word in str(caught.value)


def test_keys_may_be_ignored_by_name() -> None:
    state = small_state()
    extra = {**state, "step": np.zeros((), np.int64)}
    params = parity.convert(extra, ignore=["step"])
    assert parity.export(params).keys() == state.keys()
    with pytest.raises(errors.MissingKeysError, match="listed as ignored, but not there: stp"):
        parity.convert(state, ignore=["stp"])
    with pytest.raises(errors.DoublyUsedKeysError, match=f"{BIAS} is both used and ignored"):
        parity.convert(state, ignore=[BIAS])


def test_a_dtype_that_is_asked_for_is_given() -> None:
    state = small_state(dtype=np.float16)
    params = parity.convert(state, dtype=jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(params["scaling"]["log_scale"], state["scaling.scale"][0].astype(np.float32))
    with pytest.raises(errors.UnsupportedDtypeError, match="int32"):
        parity.convert(state, dtype=jnp.int32)
    with pytest.raises(errors.UnsupportedDtypeError, match="is int64"):
        parity.convert(change(BIAS, lambda a: a.astype(np.int64))(state), dtype=jnp.float32)


def test_weights_that_overflow_the_asked_dtype_are_refused() -> None:
    state = change("scaling.scale", lambda a: a + np.float32(1e9))(small_state())
    with pytest.raises(errors.NonFiniteWeightsError, match=r"scaling/log_scale \(too large for float16\)"):
        parity.convert(state, dtype=jnp.float16)
    with pytest.raises(errors.UnsupportedDtypeError, match="JAX has no float64 here"):
        parity.convert(state, dtype=jnp.float64)


def test_what_is_no_mapping_of_names_to_dense_arrays_is_refused() -> None:
    with pytest.raises(errors.UnexpectedKeysError, match=r"got \[3\]"):
        parity.convert({3: np.zeros(1)})  # type: ignore[dict-item]
    with pytest.raises(ConfigurationError, match=r"write \['step'\]"):
        parity.convert(small_state(), ignore="step")
    torch = pytest.importorskip("torch", reason="sparse tensors are PyTorch's")
    with pytest.raises(errors.UnsupportedDtypeError, match=r"scaling\.scale"):
        parity.convert({**small_state(), "scaling.scale": torch.zeros(1, 6).to_sparse()})


def test_float64_is_kept_where_jax_has_it() -> None:
    state = small_state(dtype=np.float64)
    with jax.enable_x64(True):
        back = parity.export(parity.convert(state))
    assert all(back[name].tobytes() == array.tobytes() for name, array in state.items())


def test_unknown_models_are_refused() -> None:
    with pytest.raises(errors.UnknownModelError, match=r"'glow'; known: autoencoder, .*, nice, small-net"):
        parity.convert(small_state(), "glow")


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (lambda p: p["coupling_0"]["dense_1"].pop("bias"), errors.MissingKeysError, "coupling_0/dense_1/bias"),
        (lambda p: p["coupling_0"].update(extra=np.zeros(1)), errors.UnexpectedKeysError, "coupling_0/extra"),
        (lambda p: p["scaling"].update(log_scale=np.zeros((1, 6))), errors.WrongModelError, "scaling/log_scale"),
        (lambda p: p["scaling"].update(log_scale=np.zeros(8, np.float32)), errors.ShapeMismatchError, r"\(3, 5\)"),
        (lambda p: p["scaling"].update(log_scale=np.zeros(6, np.int32)), errors.UnsupportedDtypeError, "int32"),
        (
            lambda p: p["scaling"].update(log_scale=np.full(6, np.nan, np.float32)),
            errors.NonFiniteWeightsError,
            "6 NaN",
        ),
        (lambda p: p.clear(), errors.WrongModelError, "found nothing"),
    ],
)
def test_bad_parameters_are_not_exported(
    spoil: Callable[[dict[str, dict[str, object]]], object], error: type[Exception], words: str
) -> None:
    params = parity.convert(small_state())
    spoil(params)
    with pytest.raises(error, match=words):
        parity.export(params)


def test_rule_tables_are_checked() -> None:
    model = MODELS["nice"]
    targets = target_shapes(model, SMALL)
    rules = model.table(SMALL).rules

    def check(*table: Rule) -> None:
        check_rule_table(RuleTable(table), targets, ())

    check(*rules)
    assert {rule.target for rule in rules} == set(targets) == set(flatten(parity.convert(small_state())))
    with pytest.raises(errors.RuleTableError, match="scaling/log_scale is filled by no rule"):
        check(*rules[:-1])
    with pytest.raises(errors.RuleTableError, match="scaling/log_scale is filled 2 times"):
        check(*rules, Rule(("other",), "scaling/log_scale", "same"))
    with pytest.raises(errors.RuleTableError, match="scaling/shift is not a leaf"):
        check(*rules, Rule(("other",), "scaling/shift", "same"))
    with pytest.raises(errors.DoublyUsedKeysError, match=r"scaling\.scale is used in the parts 0 of 1, 0 of 1"):
        check(rules[-1]._replace(target=rules[0].target, layout="same"), *rules[1:])
