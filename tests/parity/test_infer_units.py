"""Layers that arrays are grouped into: fused attentions and norms, and what only resembles them."""

from __future__ import annotations

from parity.inference.attention import with_fused
from parity.inference.roles import norm_modules
from parity.inference.units import Unit, source_units

Shapes = dict[str, tuple[int, ...]]


def units(shapes: Shapes) -> dict[str, Unit]:
    return {unit.name: unit for unit in source_units(shapes)}


QKV: Shapes = {"a.qkv.weight": (24, 8), "a.qkv.bias": (24,)}
PROJ: Shapes = {"a.proj.weight": (8, 8), "a.proj.bias": (8,)}


def test_a_fused_product_and_its_output_are_one_layer() -> None:
    (whole,) = with_fused(units({**QKV, **PROJ}), 1).values()
    assert whole.name == "a"
    assert whole.roles == {"in_weight", "in_bias", "out_weight", "out_bias"}


def test_nothing_is_joined_where_the_output_is_not_certain() -> None:
    for others in (
        {**PROJ, "a.out.weight": (8, 8), "a.out.bias": (8,)},
        {"a.proj.weight": (8, 7), "a.proj.bias": (8,)},
        {"a.other.weight": (8, 8), "a.other.bias": (8,)},
        {},
    ):
        given = units({**QKV, **others})
        assert with_fused(given, 1) == given
    uneven = units({"a.qkv.weight": (25, 8), **PROJ})
    assert with_fused(uneven, 1) == uneven


def test_two_attentions_of_one_module_do_not_become_one() -> None:
    given = units({**QKV, **PROJ, "a.wqkv.weight": (24, 8)})
    assert with_fused(given, 2) == given
    assert with_fused(given, 1) == given


def test_a_norm_has_gamma_and_beta_and_no_other_scale() -> None:
    assert norm_modules(["n.gamma", "n.beta"], ".") == {"n"}
    assert norm_modules(["n.gamma"], ".") == set()
    assert norm_modules(["n.gamma", "n.beta", "n.weight"], ".") == set()
