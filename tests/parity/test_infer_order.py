"""Layers of one shape: right, or an error that lists them; never by the order in which someone defined them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import parity
from parity import errors
from parity.inference import trace

State = dict[str, np.ndarray]
RNG = np.random.default_rng(0)
X = jax.ShapeDtypeStruct((2, 4), jnp.float32)
Apply = Callable[[Any, Any], Any]


def state_of(names: Sequence[str]) -> State:
    return {f"{name}.weight": RNG.normal(size=(4, 4)).astype(np.float32) for name in names}


def shapes(names: Sequence[str]) -> dict[str, Any]:
    return {"params": {name: {"kernel": jax.ShapeDtypeStruct((4, 4), jnp.float32)} for name in sorted(names)}}


def chain(names: Sequence[str]) -> Apply:
    """Each layer reads the one before."""

    def apply(variables: Any, x: Any) -> Any:
        for name in names:
            x = jnp.tanh(x @ variables["params"][name]["kernel"])
        return x

    return apply


def side_by_side(names: Sequence[str]) -> Apply:
    """All layers read the same."""

    def apply(variables: Any, x: Any) -> Any:
        return sum(jnp.sin((k + 1) * x @ variables["params"][name]["kernel"]) for k, name in enumerate(names))

    return apply


def inferred(defined: Sequence[str], targets: Sequence[str], apply: Apply, **more: Any) -> dict[str, str] | None:
    """{target: source}, or None if that is ambiguous."""
    try:
        table = parity.infer_rules(state_of(defined), shapes(targets), apply=apply, inputs=X, **more)
    except errors.AmbiguousRulesError as error:
        # An error that does not list the candidates is no answer.
        return None if f"may be filled by {', '.join(defined)}" in str(error) else {}
    return {
        rule.target.split("/")[1]: f"{table.prefix}{rule.sources[0]}".removesuffix(".weight") for rule in table.rules
    }


@pytest.mark.parametrize(
    ("names", "targets", "outcome"),
    [
        (("alpha", "beta", "gamma", "delta"), "Dense_{}", "refused"),
        (("fc1", "fc2", "fc3"), "Dense_{}", "refused"),
        (("fc1", "fc2", "fc3"), "fc{}", "refused"),  # fc0, fc1, fc2 on the other side: two names for two layers
        (("fc0", "fc1", "fc2"), "fc{}", "right"),
        (("fc0", "fc1", "fc2"), "dense{}", "refused"),
        (("layers.0", "layers.1", "layers.2", "layers.3"), "layers_{}", "right"),
        (("m.first", "m.second", "m.third"), "{}", "refused"),
    ],
)
def test_definitions_in_any_order_give_the_right_rules_or_an_error(
    names: Sequence[str], targets: str, outcome: str
) -> None:
    there = [targets.format(k) for k in range(len(names))]
    want = dict(zip(there, names, strict=True)) if outcome == "right" else None
    count = 0
    for defined in itertools.permutations(names):
        assert inferred(defined, there, chain(there)) == want
        count += 1
    assert count == [0, 0, 2, 6, 24][len(names)]


def test_the_numbers_of_a_sequential_are_its_order_whatever_the_targets_are_called() -> None:
    numbers = [f"net.{2 * k}" for k in range(4)]
    for targets in itertools.permutations([f"Dense_{k}" for k in range(4)]):
        assert inferred(numbers, targets, chain(targets)) == dict(zip(targets, numbers, strict=True))
    # From ten on, a file in the order of its names has 10 before 2; other orders are no container's.
    many = [str(k) for k in range(12)]
    layers = [f"Dense_{k}" for k in range(12)]
    assert inferred(sorted(many), layers, chain(layers)) == dict(zip(layers, many, strict=True))
    assert inferred(many[::-1], layers, chain(layers)) is None
    # Without a trace, Dense_0 may be computed last.
    with pytest.raises(errors.AmbiguousRulesError, match="Pass apply= and inputs="):
        parity.infer_rules(state_of(numbers), shapes(layers[:4]))


def test_layers_side_by_side_have_no_order_of_computation() -> None:
    targets = [f"Dense_{k}" for k in range(3)]
    numbers = [f"heads.{k}" for k in range(3)]
    assert inferred(numbers, targets, side_by_side(targets)) is None
    named = [f"heads_{k}" for k in range(3)]
    assert inferred(numbers[::-1], named, side_by_side(named)) == dict(zip(named, numbers, strict=True))


@pytest.mark.parametrize(
    "names",
    [
        ("k", "v", "q", "out"), ("k_proj", "v_proj", "q_proj", "out_proj"), ("to_k", "to_v", "to_q", "to_out.0"),
        ("key", "value", "query", "proj"), ("wk", "wv", "wq", "wo"), ("k_lin", "v_lin", "q_lin", "out_lin"),
    ],
)  # fmt: skip
def test_the_projections_of_an_attention_go_by_their_names(names: tuple[str, ...]) -> None:
    targets = ("key", "value", "query", "out")

    def apply(variables: Any, x: Any) -> Any:
        q, k, v = (x @ variables["params"][name]["kernel"] for name in ("query", "key", "value"))
        return jnp.tanh(q * k + v) @ variables["params"]["out"]["kernel"]

    want = dict(zip(targets, names, strict=True))
    assert inferred(names, targets, apply) == want
    inside = tuple(f"blocks.0.attn.{name}" for name in names)
    assert inferred(inside, targets, apply) == dict(zip(targets, inside, strict=True))
    assert inferred(("a", "b", "c", "d"), targets, apply) is None


def nested(groups: Sequence[str], leaves: Sequence[str]) -> tuple[dict[str, Any], Apply]:
    one = {leaf: {"kernel": jax.ShapeDtypeStruct((4, 4), jnp.float32)} for leaf in leaves}

    def apply(variables: Any, x: Any) -> Any:
        for group in groups:
            here = variables["params"][group]
            x = x + jnp.tanh(x @ here[leaves[0]]["kernel"]) * (x @ here[leaves[1]]["kernel"])
        return x

    return {"params": {group: dict(one) for group in groups}}, apply


def test_modules_are_matched_before_the_layers_inside() -> None:
    blocks = {f"net.{k}.{leaf}.weight": np.ones((4, 4), np.float32) for k in (0, 2) for leaf in ("up", "gate")}
    variables, apply = nested(("Block_0", "Block_1"), ("gate", "up"))
    table = parity.infer_rules(blocks, variables, apply=apply, inputs=X)
    assert {rule.target.removeprefix("params/"): rule.sources for rule in table.rules} == {
        f"Block_{k}/{leaf}/kernel": (f"{2 * k}.{leaf}.weight",) for k in (0, 1) for leaf in ("up", "gate")
    }
    assert table.prefix == "net."
    # Of the two halves of a block nothing is known, and only these are listed.
    variables, apply = nested(("Block_0", "Block_1"), ("Dense_0", "Dense_1"))
    with pytest.raises(errors.AmbiguousRulesError, match=r"Block_1/Dense_0 may be filled by net.2.up, net.2.gate\n"):
        parity.infer_rules(blocks, variables, apply=apply, inputs=X)
    ordered = {f"{name}.{k}.weight": np.ones((4, 4), np.float32) for name in ("decoder", "encoder") for k in (0, 1)}
    both = {"params": {name: shapes(("Dense_0", "Dense_1"))["params"] for name in ("decoder", "encoder")}}

    def coded(variables: Any, x: Any) -> Any:
        for name in ("encoder", "decoder"):
            x = chain(("Dense_1", "Dense_0"))({"params": variables["params"][name]}, x)
        return x

    found = {r.target: r.sources[0] for r in parity.infer_rules(ordered, both, apply=coded, inputs=X).rules}
    assert found == {
        f"params/{name}/Dense_{1 - k}/kernel": f"{name}.{k}.weight" for name in ("decoder", "encoder") for k in (0, 1)
    }


def norms(*names: str) -> State:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{n}.{part}": RNG.uniform(0.5, 2, 4).astype(np.float32) for n in names for part in parts}


def normalising(variables: Any, x: Any) -> Any:
    for name in ("BatchNorm_1", "BatchNorm_0"):
        scale, stats = variables["params"][name], variables["batch_stats"][name]
        x = jnp.tanh((x - stats["mean"]) * (jax.lax.rsqrt(stats["var"] + 1e-5) * scale["scale"]) + scale["bias"])
    return x


def test_batch_norms_that_differ_in_their_position_only() -> None:
    vector = jax.ShapeDtypeStruct((4,), jnp.float32)
    names = ("BatchNorm_0", "BatchNorm_1")
    variables = {
        "params": {name: {"scale": vector, "bias": vector} for name in names},
        "batch_stats": {name: {"mean": vector, "var": vector} for name in names},
    }
    with pytest.raises(errors.AmbiguousRulesError, match="BatchNorm_1 may be filled by norm_b, norm_a"):
        parity.infer_rules(norms("norm_b", "norm_a"), variables, apply=normalising, inputs=X)
    table = parity.infer_rules(norms("net.1", "net.4"), variables, apply=normalising, inputs=X)
    found = {rule.target: rule.sources[0] for rule in table.rules}
    assert found["batch_stats/BatchNorm_1/mean"] == "1.running_mean"
    assert found["params/BatchNorm_0/scale"] == "4.weight"
    assert len(found) == 8


def test_values_that_are_there_already_decide() -> None:
    state = state_of(("alpha", "beta", "gamma"))
    kernels = [state[f"{name}.weight"].T.copy() for name in ("gamma", "alpha", "beta")]
    tree = {"params": {f"Dense_{k}": {"kernel": kernel} for k, kernel in enumerate(kernels)}}
    table = parity.infer_rules(state, tree)
    assert {rule.target: rule.sources[0] for rule in table.rules}["params/Dense_1/kernel"] == "alpha.weight"
    assert {rule.reason for rule in table.rules} == {"the same values"}
    tree["params"]["Dense_2"]["kernel"][0, 0] += 1
    with pytest.raises(errors.AmbiguousRulesError, match="3 layers"):
        parity.infer_rules(state, tree)


def test_the_trace_tells_what_depends_on_what_through_loops() -> None:
    def apply(variables: Mapping[str, Any], x: Any) -> Any:
        def step(carry: Any, entry: Any) -> tuple[Any, Any]:
            carry = jnp.tanh(carry @ variables["hidden"] + entry @ variables["input"])
            return carry, carry

        _, rows = jax.lax.scan(step, jnp.zeros((4,)), x[::-1])
        return rows @ variables["last"]

    names = ("input", "hidden", "last")
    uses = trace(apply, {name: jax.ShapeDtypeStruct((4, 4), jnp.float32) for name in names}, X)
    assert uses["last"].after == {"input", "hidden"}
    assert uses["input"].after == uses["hidden"].after == frozenset()
    assert {name: uses[name].turned for name in names} == {"input": True, "hidden": False, "last": True}
    assert {uses[name].kind for name in names} == {"linear"}
