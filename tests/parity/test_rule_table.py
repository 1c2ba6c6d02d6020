"""Rule tables: their file, their strictness, and that every layout is the one in which the layer computes the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import parity
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.nets import BatchNorm, Conv, ConvTranspose, Dense, Flatten, Relu, Sequential
from parity import errors
from parity.rules.layouts import LAYOUTS
from parity.rules.table import Rule, RuleTable, parse_rules

# Many small programs, each run a few times.
pytestmark = pytest.mark.usefixtures("quick_compilation")

RNG = np.random.default_rng(0)
STATE = {
    "fc.weight": RNG.normal(size=(3, 4)).astype(np.float32),
    "fc.bias": RNG.normal(size=3).astype(np.float32),
    "step": np.array(7),
}
TARGET = {"params": {"fc": {"kernel": np.zeros((4, 3), np.float32), "bias": np.zeros(3, np.float32)}}}
TABLE = RuleTable(
    (
        Rule(("fc.weight",), "params/fc/kernel", "linear", reason="by hand"),
        Rule(("fc.bias",), "params/fc/bias", "same"),
    ),
    ignored={"step": "a counter"},
)


def test_a_table_is_read_back_from_its_file(tmp_path: Path) -> None:
    table = RuleTable(
        (
            Rule(("a.g", 'b"\\\x7f\n.v'), "params/é/kernel", "flattened", {"channels": 5}, combine="weight_norm"),
            Rule(("c",), "params/c", "transposed_convolution", {"groups": 2}, part=(1, 4), reason="weil"),
        ),
        ignored={"x": "unused"},
        tied={"y": "c"},
        prefix="module.",
        wrapper=("model", "state_dict"),
    )
    parity.write_rules(tmp_path / "rules.toml", table)
    assert parity.read_rules(tmp_path / "rules.toml") == table


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("format = 3", r"begins with format = 'mathdnn rules 1'"),
        ("= 3", "this is not TOML"),
        ("[rule]\nsource='a'", "two brackets"),
        ("[[rule]]\nsource='a'", "a target and a layout"),
        ("[[rule]]\nsource='a'\ntarget='b'\nlayout='sideways'", "there is no layout 'sideways'; there are same"),
        ("[[rule]]\nsource='a'\ntarget='b'\nlayout='flattened'", "flattened' has channels; got nothing"),
        ("[[rule]]\nsource='a'\ntarget='b'\nlayout='same'\nchannels=3", "has nothing; got channels"),
        ("[[rule]]\nsource='a'\ntarget='b'\nlayout='flattened'\nchannels=0", "at least 1"),
        ("[[rule]]\nsource='a'\ntarget='b'\nlayout='same'\npart=[2,2]", "0 <= k < n"),
        ("[[rule]]\nsource=['a','b']\ntarget='b'\nlayout='same'", "2 sources"),
        ("[ignored]\na=3", r"\[ignored\] maps source keys"),
    ],
)
def test_what_is_no_table_is_refused(text: str, words: str) -> None:
    start = "" if text.startswith(("format", "=")) else "format = 'mathdnn rules 1'\n"
    with pytest.raises(errors.RuleTableError, match=words):
        parse_rules(start + text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.RuleTableError, match=r"none\.toml cannot be read"):
        parity.convert(STATE, TARGET, tmp_path / "none.toml")


def test_a_table_converts_and_exports(tmp_path: Path) -> None:
    parity.write_rules(tmp_path / "rules.toml", TABLE)
    params = parity.convert(STATE, TARGET, tmp_path / "rules.toml")
    np.testing.assert_array_equal(params["params"]["fc"]["kernel"], STATE["fc.weight"].T)
    back = parity.export(params, tmp_path / "rules.toml")
    assert {name: array.tobytes() for name, array in back.items()} == {
        name: STATE[name].tobytes() for name in ("fc.weight", "fc.bias")
    }
    half = parity.convert({n: a.astype(np.float16) if a.ndim else a for n, a in STATE.items()}, TARGET, TABLE)
    assert half["params"]["fc"]["bias"].dtype == jnp.float16
    assert parity.convert(STATE, TARGET, TABLE, dtype=jnp.bfloat16)["params"]["fc"]["bias"].dtype == jnp.bfloat16


def rules(**changes: Any) -> RuleTable:
    return TABLE._replace(**changes)


@pytest.mark.parametrize(
    ("state", "table", "error", "words"),
    [
        (STATE, rules(rules=TABLE.rules[:1]), errors.RuleTableError, "params/fc/bias is filled by no rule"),
        (STATE, rules(rules=(*TABLE.rules, TABLE.rules[0])), errors.RuleTableError, "filled 2 times"),
        (
            STATE,
            rules(rules=(*TABLE.rules, TABLE.rules[0]._replace(target="params/x"))),
            errors.RuleTableError,
            "params/x is not a leaf",
        ),
        (
            STATE,
            rules(rules=(TABLE.rules[0], TABLE.rules[1]._replace(layout="linear"))),
            errors.RuleTableError,
            r"shape \(3,\) cannot come from layout linear",
        ),
        (
            STATE,
            rules(rules=(TABLE.rules[0], TABLE.rules[1]._replace(sources=("fc.weight",)))),
            errors.DoublyUsedKeysError,
            "fc.weight is used in the parts 0 of 1, 0 of 1",
        ),
        (
            STATE,
            rules(rules=(TABLE.rules[0], TABLE.rules[1]._replace(part=(1, 2)))),
            errors.DoublyUsedKeysError,
            "fc.bias is used in the parts 1 of 2",
        ),
        (STATE, rules(ignored={"fc.bias": ""}), errors.DoublyUsedKeysError, "both used and ignored"),
        (STATE, rules(tied={"step": "stop"}), errors.RuleTableError, "tied to stop, which no rule uses"),
        (STATE, rules(ignored={}), errors.UnexpectedKeysError, "unexpected: step"),
        (
            {**STATE, "fc.weight": STATE["fc.weight"].T},
            TABLE,
            errors.ShapeMismatchError,
            r"is \(4, 3\), expected \(3, 4\)",
        ),
        ({**STATE, "fc.bias": np.full(3, np.nan, np.float32)}, TABLE, errors.NonFiniteWeightsError, "fc.bias"),
        ({**STATE, "fc.bias": np.zeros(3)}, TABLE, errors.UnsupportedDtypeError, "float64"),
        (STATE, rules(prefix="module."), errors.MissingKeysError, "begin with 'module.'"),
        ({"other": STATE}, rules(wrapper=("model",)), errors.MissingKeysError, "inside model, which is not there"),
        ({**STATE, "note": "text"}, TABLE, errors.UnsupportedDtypeError, "note: it is a str"),
    ],
)
def test_conversion_by_a_table_is_strict(
    state: dict[str, Any], table: RuleTable, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        parity.convert(state, TARGET, table)


def test_the_two_kinds_of_conversion_are_not_mixed() -> None:
    with pytest.raises(ConfigurationError, match="needs the rule table"):
        parity.convert(STATE, TARGET)  # type: ignore[call-overload]
    with pytest.raises(ConfigurationError, match="the rules of the model 'nice' are built in"):
        parity.convert(STATE, "nice", TABLE)


def test_tied_arrays_are_checked_and_come_back() -> None:
    table = rules(tied={"head.weight": "fc.weight"})
    state = {**STATE, "head.weight": STATE["fc.weight"].copy()}
    back = parity.export(parity.convert(state, TARGET, table), table)
    assert back["head.weight"].tobytes() == back["fc.weight"].tobytes() == STATE["fc.weight"].tobytes()
    state["head.weight"][1, 1] += 1
    with pytest.raises(errors.ShapeMismatchError, match=r"head\.weight and fc\.weight"):
        parity.convert(state, TARGET, table)


@given(
    name=st.sampled_from(sorted(LAYOUTS)),
    sizes=st.lists(st.integers(1, 3), min_size=5, max_size=5),
    ndim=st.integers(1, 5),
    option=st.integers(1, 3),
)
def test_every_layout_has_its_inverse(name: str, sizes: list[int], ndim: int, option: int) -> None:
    shape = tuple(n * option for n in sizes[:ndim])
    layout, options = LAYOUTS[name], dict.fromkeys(LAYOUTS[name].options, option)
    source_shape = layout.source_shape(shape, options)
    if source_shape is None:
        return
    source = np.arange(np.prod(source_shape), dtype=np.int64).reshape(source_shape)
    target = layout.to_target(source, shape, options)
    assert target.shape == shape
    back = layout.to_source(target, source_shape, options)
    assert back.dtype == source.dtype
    np.testing.assert_array_equal(back, source)


def convolution(name: str, kernel: tuple[int, ...], **options: int) -> Callable[[Any], Any]:
    return lambda nn: nn.ModuleDict({"c": getattr(nn, name)(4, 6, kernel, groups=2, **options)})


def layer_cases() -> dict[str, tuple[Any, tuple[int, ...], Callable[[Any], Any]]]:
    cases: dict[str, tuple[Any, tuple[int, ...], Callable[[Any], Any]]] = {
        "flatten": (
            Sequential(c=Conv(4, 3), r=Relu(), f=Flatten(), d=Dense(5)),
            (5, 6, 2),
            lambda nn: nn.ModuleDict(
                {"c": nn.Conv2d(2, 4, 3), "r": nn.ReLU(), "f": nn.Flatten(), "d": nn.Linear(48, 5)}
            ),
        ),
        "batch norm": (
            Sequential(c=Conv(4, (3,)), n=BatchNorm()),
            (6, 2),
            lambda nn: nn.ModuleDict({"c": nn.Conv1d(2, 4, 3), "n": nn.BatchNorm1d(4)}),
        ),
    }
    for ndim in (1, 2, 3):
        k, image = (3, 2, 4)[:ndim], (5, 6, 4)[:ndim]
        network = Sequential(c=Conv(6, k, groups=2))
        cases[f"convolution {ndim}"] = network, (*image, 4), convolution(f"Conv{ndim}d", k)
        network = Sequential(c=ConvTranspose(6, k, stride=2, padding=1, groups=2))
        cases[f"transposed {ndim}"] = network, (*image, 4), convolution(f"ConvTranspose{ndim}d", k, stride=2, padding=1)
    return cases


@pytest.mark.parametrize("case", layer_cases())
def test_every_layer_computes_the_same(case: str) -> None:
    torch = pytest.importorskip("torch", reason="the other side is PyTorch")
    network, shape, build = layer_cases()[case]
    torch.manual_seed(0)
    layers = build(torch.nn).double().eval()
    for buffer in layers.buffers():
        if buffer.dtype.is_floating_point:
            torch.nn.init.uniform_(buffer, 0.5, 2)
    x = np.random.default_rng(1).normal(size=(2, *shape))
    with jax.enable_x64(True):
        variables = jax.eval_shape(network.init, jax.random.key(0), x)
        table = parity.infer_rules(layers.state_dict(), variables, apply=network.apply, inputs=x)
        converted = parity.convert(layers.state_dict(), variables, table)
        y = np.asarray(network.apply(converted, x))
        back = parity.export(converted, table)
    expected = torch.from_numpy(np.moveaxis(x, -1, 1))
    for layer in layers.values():
        expected = layer(expected)
    want = expected.detach().numpy()
    np.testing.assert_allclose(y, np.moveaxis(want, 1, -1), rtol=1e-12, atol=1e-13)
    assert all(back[name].tobytes() == value.numpy().tobytes() for name, value in layers.state_dict().items())
