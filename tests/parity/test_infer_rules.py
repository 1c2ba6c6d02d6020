"""Inferred rules: right where the evidence is enough, an error with the candidates where it is not."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import parity
from mathdnn_jax.errors import ConfigurationError
from parity import errors
from parity.inference import trace
from parity.inference.names import by_name, tokens
from parity.models import MODELS

State = dict[str, np.ndarray]
RNG = np.random.default_rng(0)


def arrays(shapes: Mapping[str, tuple[int, ...]]) -> State:
    return {name: RNG.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def shape(*sizes: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


def dense(*sizes: int, bias: bool = True) -> dict[str, Any]:
    return {"kernel": shape(*sizes), **({"bias": shape(sizes[-1])} if bias else {})}


def pairs(table: parity.RuleTable) -> dict[str, str]:
    return {rule.target: " + ".join(rule.sources) for rule in table.rules}


def reasons(table: parity.RuleTable) -> set[str]:
    return {rule.reason for rule in table.rules}


SQUARES = {f"{name}.weight": (4, 4) for name in ("a", "b", "c")}


def test_the_strangers_files_need_no_rule_by_hand(shared: Path) -> None:
    folder = shared / "checkpoints" / "third_party"
    for model, name, sizes in (
        ("lenet", "lenet_cifar.pth", (2, 32, 32, 3)),
        ("dcgan-generator", "dcgan_digits_generator.pth", (2, 1, 1, 64)),
        ("vae", "mlp_vae_fashion_mnist.pth", (2, 784)),
    ):
        state = parity.load(folder / name)
        network = MODELS[model].build(**MODELS[model].infer_config(state))
        if model == "vae":
            variables = jax.eval_shape(network.init, jax.random.key(0))

            def apply(params: Any, x: Any, network: Any = network) -> Any:
                return network.decode(params, network.encode(params, x)[0])
        else:
            variables, apply = jax.eval_shape(network.init, jax.random.key(0), shape(*sizes)), network.apply
        # Its layers fc21 and fc22 read the same and are called otherwise here: only their author knows which is which.
        heads = {"encoder/mean": "fc21", "encoder/log_variance": "fc22"} if model == "vae" else None
        table = parity.infer_rules(state, variables, apply=apply, inputs=shape(*sizes), sources=heads)
        by_hand = parity.convert(state, model)
        inferred = parity.convert(state, variables, table)
        jax.tree.map(np.testing.assert_array_equal, inferred, dict(by_hand))
        assert all(parity.export(inferred, table)[key].tobytes() == array.tobytes() for key, array in state.items())
        assert not table.ignored


def test_names_match_across_conventions() -> None:
    assert tokens("layer1.0.conv1") == tokens("layer1_0/Conv_1") == ("layer", "1", "0", "conv", "1")
    fits = {"conv1": ["conv1", "conv2"], "conv2": ["conv1", "conv2"]}
    assert by_name(["conv1", "conv2"], ["conv1", "conv2"], fits) == {"conv1": "conv1", "conv2": "conv2"}
    assert by_name(["model/fc_1", "model/fc_2"], ["fc.2", "fc.1"], {"model/fc_1": ["fc.1"], "model/fc_2": ["fc.2"]})
    assert by_name(["a", "b"], ["a", "b"], {"a": ["b"], "b": ["a", "b"]}) == {}
    # Of conv1, conv2 and conv0, conv1 the two conv1 are different layers.
    assert by_name(["conv0", "conv1"], ["conv1", "conv2"], {n: ["conv1", "conv2"] for n in ("conv0", "conv1")}) == {}
    # A number counts with its word: Dense_0 and 0 may be different layers, and so may layers.0.1 and block_0_1.
    for other in ("Dense_{}", "block_0_{}"):
        fits = {other.format(k): ["layers.0.0", "layers.0.1"] for k in range(2)}
        assert by_name(list(fits), ["layers.0.0", "layers.0.1"], fits) == {}
    assert by_name(["a_1", "a.1"], ["a1", "b1"], {n: ["a1", "b1"] for n in ("a_1", "a.1")}) == {}


def test_layers_of_one_shape_go_by_name_whatever_their_order() -> None:
    variables = {"params": {name: dense(4, 4, bias=False) for name in ("c", "a", "b")}}
    table = parity.infer_rules(arrays(SQUARES), variables)
    assert pairs(table) == {f"params/{name}/kernel": f"{name}.weight" for name in ("a", "b", "c")}
    assert reasons(table) == {"the same name"}


def test_without_names_and_order_the_candidates_are_listed() -> None:
    variables = {"params": {f"Dense_{k}": dense(4, 4, bias=False) for k in range(3)}}
    with pytest.raises(errors.AmbiguousRulesError, match=r"Dense_1 may be filled by a, b, c\n") as caught:
        parity.infer_rules(arrays(SQUARES), variables)
    assert "Pass apply= and inputs=" in str(caught.value)
    chosen = {"Dense_0": "b", "Dense_1": "c", "Dense_2": "a"}
    table = parity.infer_rules(arrays(SQUARES), variables, sources=chosen)
    assert pairs(table) == {f"params/{target}/kernel": f"{source}.weight" for target, source in chosen.items()}
    with pytest.raises(ConfigurationError, match="sources= names no layer: Dense_7"):
        parity.infer_rules(arrays(SQUARES), variables, sources={"Dense_7": "a"})


def in_order(*names: str, weights: str = "kernel") -> Any:
    def apply(variables: Any, x: Any) -> Any:
        for name in names:
            x = jax.nn.relu(jax.jit(jnp.matmul)(x, variables["params"][name][weights]))
        return x

    return apply


def test_the_order_of_computation_decides_where_pytorch_numbers_by_it() -> None:
    names = ("stem", "neck", "head")
    variables = {"params": {name: dense(4, 4, bias=False) for name in sorted(names)}}
    apply = in_order(*names)
    state = arrays({f"net.{k}.weight": (4, 4) for k in (0, 2, 4)})
    table = parity.infer_rules(state, variables, apply=apply, inputs=shape(2, 4))
    assert pairs(table) == {f"params/{name}/kernel": f"{2 * k}.weight" for k, name in enumerate(names)}
    assert table.prefix == "net."
    assert reasons(table) == {"the same position in the order of computation"}
    # What a person called a, b and c, in whatever order, tells nothing.
    for order in itertools.permutations("abc"):
        named = arrays({f"{name}.weight": (4, 4) for name in order})
        with pytest.raises(errors.AmbiguousRulesError, match="neither the names nor the order") as caught:
            parity.infer_rules(named, variables, apply=apply, inputs=shape(2, 4))
        assert str(caught.value).endswith(f"sources={dict(zip(names, order, strict=True))}")
        chosen = dict(zip(names, "bca", strict=True))
        table = parity.infer_rules(named, variables, apply=apply, inputs=shape(2, 4), sources=chosen)
        assert pairs(table) == {f"params/{name}/kernel": f"{source}.weight" for name, source in chosen.items()}


def test_a_matrix_that_is_contracted_along_its_second_axis_is_not_transposed() -> None:
    def apply(variables: Any, x: Any) -> Any:
        return x @ variables["w"].T

    table = parity.infer_rules(arrays({"fc.weight": (4, 4)}), {"w": shape(4, 4)}, apply=apply, inputs=shape(2, 4))
    assert [rule.layout for rule in table.rules] == ["same"]


def flattening(order: str) -> Any:
    def apply(variables: Any, x: Any) -> Any:
        p = variables["params"]
        x = jax.lax.conv_general_dilated(
            x, p["conv"]["kernel"], (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = jax.nn.relu(x + p["conv"]["bias"])
        x = jnp.transpose(x, (0, 3, 1, 2)) if order == "first" else x
        x = x.mean((1, 2)) if order == "pooled" else x.reshape(len(x), -1)
        return x @ p["fc"]["kernel"] + p["fc"]["bias"]

    return apply


@pytest.mark.parametrize(("order", "layout"), [("last", "flattened 3"), ("first", "linear"), ("pooled", "linear")])
def test_the_trace_tells_how_an_image_was_flattened(order: str, layout: str) -> None:
    size = 3 if order == "pooled" else 36
    state = arrays({"conv.weight": (3, 2, 3, 3), "conv.bias": (3,), "fc.weight": (5, size), "fc.bias": (5,)})
    variables = {"params": {"conv": dense(3, 3, 2, 3), "fc": dense(size, 5)}}
    table = parity.infer_rules(state, variables, apply=flattening(order), inputs=shape(2, 5, 6, 2))
    found = {r.target: " ".join([r.layout, *map(str, r.options.values())]) for r in table.rules}
    assert found["params/fc/kernel"] == layout
    assert found["params/conv/kernel"] == "convolution"
    if order == "pooled":
        return
    with pytest.raises(errors.AmbiguousRulesError, match=r"params/fc/kernel from fc.weight: linear or flattened 3"):
        parity.infer_rules(state, variables)
    chosen = parity.infer_rules(state, variables, layouts={"params/fc/kernel": layout})
    assert pairs(chosen) == pairs(table)
    assert {r.target: r.layout for r in chosen.rules} == {r.target: r.layout for r in table.rules}
    with pytest.raises(ConfigurationError, match="layouts= has no effect for params/gc"):
        parity.infer_rules(state, variables, layouts={"params/gc/*": "linear"})


class Twin(nn.Module):
    transposed: bool

    @nn.compact
    def __call__(self, x: Any) -> Any:
        layer = nn.ConvTranspose if self.transposed else nn.Conv
        return layer(4, (3, 3), name="layer")(x)


@pytest.mark.parametrize(("transposed", "layout"), [(False, "convolution"), (True, "transposed_convolution")])
def test_square_convolutions_go_by_the_flax_class(transposed: bool, layout: str) -> None:
    state = arrays({"layer.weight": (4, 4, 3, 3), "layer.bias": (4,)})
    variables = {"params": {"layer": dense(3, 3, 4, 4)}}
    table = parity.infer_rules(state, variables, apply=Twin(transposed).apply, inputs=shape(1, 5, 5, 4))
    assert {rule.layout for rule in table.rules} == {layout, "same"}
    with pytest.raises(errors.AmbiguousRulesError, match="convolution or transposed_convolution 1"):
        parity.infer_rules(state, variables)


def test_wrappers_and_prefixes_are_found_and_named() -> None:
    state = arrays({"module.fc.weight": (3, 4), "module.fc.bias": (3,)})
    inner = {"epoch": 3, "model_state": state, "optimizer": {"state": {0: {"exp": np.zeros(3)}}, "param_groups": []}}
    variables = {"params": {"fc": dense(4, 3)}}
    table = parity.infer_rules(inner, variables)
    assert (table.wrapper, table.prefix) == (("model_state",), "module.")
    converted = parity.convert(inner, variables, table)
    np.testing.assert_array_equal(converted["params"]["fc"]["kernel"], state["module.fc.weight"].T)
    back: Any = parity.export(converted, table)
    assert back["model_state"].keys() == state.keys()
    with pytest.raises(errors.AmbiguousRulesError, match="choose one as the state: 'model_state', 'ema'"):
        parity.infer_rules({**inner, "ema": state}, variables)
    with pytest.raises(errors.MissingKeysError, match="no arrays in this state; it has 'epoch'"):
        parity.infer_rules({"epoch": 3}, variables)


def norm(*, count: bool) -> dict[str, Any]:
    stats = {"mean": shape(3), "var": shape(3)}
    stats |= {"num_batches_tracked": jax.ShapeDtypeStruct((), jnp.int32)} if count else {}
    return {"params": {"bn": {"scale": shape(3), "bias": shape(3)}}, "batch_stats": {"bn": stats}}


def norm_state() -> State:
    state = arrays({f"bn.{name}": (3,) for name in ("weight", "bias", "running_mean", "running_var")})
    return {**state, "bn.num_batches_tracked": np.array(5)}


def test_a_count_without_a_place_is_ignored_by_name() -> None:
    table = parity.infer_rules(norm_state(), norm(count=False))
    assert table.ignored == {"bn.num_batches_tracked": "a count of batches, for which the target has no leaf"}
    parity.convert(norm_state(), norm(count=False), table)
    kept = parity.convert(norm_state(), norm(count=True), parity.infer_rules(norm_state(), norm(count=True)))
    assert kept["batch_stats"]["bn"]["num_batches_tracked"] == 5


@pytest.mark.parametrize(
    "names", [("weight_g", "weight_v"), tuple(f"parametrizations.weight.original{k}" for k in (0, 1))]
)
def test_weight_norm_pairs_become_the_weight(names: tuple[str, str]) -> None:
    torch = pytest.importorskip("torch", reason="the other side is PyTorch")
    g, v = arrays({"g": (3, 1), "v": (3, 4)}).values()
    state = {"fc.bias": np.zeros(3, np.float32), f"fc.{names[0]}": g, f"fc.{names[1]}": v}
    variables = {"params": {"fc": dense(4, 3)}}
    table = parity.infer_rules(state, variables)
    converted = parity.convert(state, variables, table)
    expected = torch._weight_norm(torch.from_numpy(v), torch.from_numpy(g), 0).numpy()
    np.testing.assert_array_max_ulp(np.asarray(converted["params"]["fc"]["kernel"]).T, expected, 3)
    again = parity.convert(parity.export(converted, table), variables, table)
    kernels = [np.asarray(tree["params"]["fc"]["kernel"]) for tree in (again, converted)]
    np.testing.assert_array_max_ulp(kernels[0], kernels[1], 1)


def test_a_weight_norm_of_a_zero_row_is_refused() -> None:
    state = {"fc.weight_g": np.ones((3, 1), np.float32), "fc.weight_v": np.zeros((3, 4), np.float32)}
    variables = {"params": {"fc": dense(4, 3, bias=False)}}
    with pytest.raises(errors.NonFiniteWeightsError, match="not finite after the conversion: params/fc/kernel"):
        parity.convert(state, variables, parity.infer_rules(state, variables))


def test_tied_weights_are_found_by_their_bytes() -> None:
    state = arrays({"embed.weight": (7, 4), "fc.weight": (4, 4)})
    state["head.weight"] = state["embed.weight"].copy()
    variables = {"params": {"embed": {"embedding": shape(7, 4)}, "fc": dense(4, 4, bias=False)}}
    table = parity.infer_rules(state, variables)
    assert table.tied == {"head.weight": "embed.weight"}
    halves = {name: array.astype(jnp.bfloat16) for name, array in state.items()}
    assert parity.infer_rules(halves, variables) == table
    assert parity.export(parity.convert(state, variables, table), table).keys() == state.keys()


def test_what_fits_nothing_is_named_with_its_shapes() -> None:
    state = arrays({"fc.weight": (3, 4), "fc.bias": (3,), "extra.weight": (9, 9)})
    variables = {"params": {"fc": dense(4, 3)}}
    with pytest.raises(errors.UnmatchedArraysError, match=r"nothing against source extra \{weight \(9, 9\)\}"):
        parity.infer_rules(state, variables)
    assert parity.infer_rules(state, variables, ignore=["extra.weight"]).ignored == {
        "extra.weight": "ignored deliberately"
    }
    with pytest.raises(errors.UnmatchedArraysError, match=r"target fc \{bias.*the other side's fc has"):
        parity.infer_rules({**state, "fc.weight": state["extra.weight"]}, variables, ignore=["extra.weight"])
    with pytest.raises(errors.MissingKeysError, match="not there: extar"):
        parity.infer_rules(state, variables, ignore=["extar"])


def test_axes_of_length_one_are_dropped() -> None:
    state = arrays({"layer_scale": (5, 1, 1), "scaling": (1, 6)})
    table = parity.infer_rules(state, {"layer_scale": shape(5), "scaling": shape(6)})
    assert [rule.layout for rule in table.rules] == ["trailing_ones", "leading_ones"]


def test_the_trace_sees_through_loops_and_branches() -> None:
    def apply(variables: Any, x: Any) -> Any:
        def step(carry: Any, _: Any) -> Any:
            return jnp.tanh(carry @ variables["loop"]), None

        x, _ = jax.lax.scan(step, x, None, length=3)
        return jax.lax.cond(True, lambda y: y @ variables["one"], lambda y: y @ variables["two"], x)

    uses = trace(apply, {name: shape(4, 4) for name in ("one", "two", "loop")}, shape(2, 4))
    assert next(name for name, _ in sorted(uses.items(), key=lambda item: item[1].order)) == "loop"
    assert {use.kind for use in uses.values()} == {"linear"}
