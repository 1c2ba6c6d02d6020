"""What was flattened before a dense layer, in PyTorch's order or another: only an image's channels come first there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import parity
from parity import errors
from parity.inference.names import tokens

Apply = Callable[[Any, Any], Any]
Shape = tuple[int, ...]


def drawn(*shape: int) -> Any:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def conv(x: Any, kernel: Any, **options: Any) -> Any:
    axes = ("NHWC", "HWIO", "NHWC") if x.ndim == 4 else ("NWC", "WIO", "NWC")
    return lax.conv_general_dilated(x, kernel, (1,) * (x.ndim - 2), "SAME", dimension_numbers=axes, **options)


def layouts(apply: Apply, x: Any, shapes: Mapping[str, tuple[Shape, Shape]]) -> dict[str, str]:
    """{layer: layout} of kernels, given as {layer: (shape in the tree, shape in the state)}."""
    tree = {name: {"kernel": np.zeros(shape, np.float32)} for name, (shape, _) in shapes.items()}
    state = {f"{name}.weight": drawn(*shape) for name, (_, shape) in shapes.items()}
    table = parity.infer_rules(state, tree, apply=apply, inputs=x)
    return {
        rule.target.split("/")[0]: " ".join([rule.layout, *map(str, rule.options.values())]) for rule in table.rules
    }


def flat(x: Any) -> Any:
    return x.reshape(len(x), -1)


def resized(x: Any) -> Any:
    return jnp.einsum("ih,bhwc->biwc", jnp.ones((2, x.shape[1])), x)


def enlarged(x: Any) -> Any:
    """Every pixel four times."""
    wide = jnp.broadcast_to(x[:, :, None, :, None], (*x.shape[:2], 2, x.shape[2], 2, x.shape[3]))
    return wide.reshape(x.shape[0], 2 * x.shape[1], 2 * x.shape[2], x.shape[3])


WORDS, FEATURES, IMAGES = np.zeros((3, 4), np.int32), drawn(3, 4, 6), drawn(3, 4, 5, 2)
IMAGE = {"conv": ((3, 3, 2, 8), (8, 2, 3, 3))}
CASES: dict[str, tuple[Apply, Any, dict[str, Any], str]] = {
    "embedded words": (
        lambda p, x: flat(p["words"]["kernel"][x]) @ p["fc"]["kernel"],
        WORDS,
        {"words": ((7, 8), (7, 8)), "fc": ((32, 5), (5, 32))},
        "linear",
    ),
    "features": (
        lambda p, x: flat(x @ p["a"]["kernel"]) @ p["fc"]["kernel"],
        FEATURES,
        {"a": ((6, 8), (8, 6)), "fc": ((32, 5), (5, 32))},
        "linear",
    ),
    "a convolution of words": (
        lambda p, x: flat(conv(p["words"]["kernel"][x], p["conv"]["kernel"])) @ p["fc"]["kernel"],
        WORDS,
        {"words": ((7, 6), (7, 6)), "conv": ((3, 6, 8), (8, 6, 3)), "fc": ((32, 5), (5, 32))},
        "flattened 8",
    ),
    "features after a convolution of words": (
        lambda p, x: flat(conv(p["words"]["kernel"][x], p["conv"]["kernel"]) @ p["a"]["kernel"]) @ p["fc"]["kernel"],
        WORDS,
        {"words": ((7, 6), (7, 6)), "conv": ((3, 6, 8), (8, 6, 3)), "a": ((8, 10), (10, 8)), "fc": ((40, 5), (5, 40))},
        "linear",
    ),
    "features of pixels": (
        lambda p, x: flat(conv(x, p["conv"]["kernel"]) @ p["a"]["kernel"]) @ p["fc"]["kernel"],
        IMAGES,
        {**IMAGE, "a": ((8, 10), (10, 8)), "fc": ((200, 5), (5, 200))},
        "flattened 10",
    ),
    "features of pixels, moved first by the product": (
        lambda p, x: flat(jnp.einsum("bhwc,cd->bdhw", x, p["a"]["kernel"])) @ p["fc"]["kernel"],
        IMAGES,
        {"a": ((2, 10), (10, 2)), "fc": ((200, 5), (5, 200))},
        "linear",
    ),
    "a resized image": (
        lambda p, x: (
            flat(jnp.einsum("ih,bhwc->biwc", jnp.ones((2, 4)), conv(x, p["conv"]["kernel"]))) @ p["fc"]["kernel"]
        ),
        IMAGES,
        {**IMAGE, "fc": ((80, 5), (5, 80))},
        "flattened 8",
    ),
    "an enlarged image": (
        lambda p, x: flat(enlarged(conv(x, p["conv"]["kernel"]))) @ p["fc"]["kernel"],
        IMAGES,
        {**IMAGE, "fc": ((640, 5), (5, 640))},
        "flattened 8",
    ),
    "an image after a mean over its width": (
        lambda p, x: flat(conv(x, p["conv"]["kernel"]).mean(2)) @ p["fc"]["kernel"],
        IMAGES,
        {**IMAGE, "fc": ((32, 5), (5, 32))},
        "flattened 8",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_order_of_what_was_flattened(case: str) -> None:
    apply, x, shapes, expected = CASES[case]
    assert layouts(apply, x, shapes)["fc"] == expected


def test_pixels_that_became_tokens_may_be_in_either_order() -> None:
    def apply(p: Any, x: Any) -> Any:
        pixels = conv(x, p["conv"]["kernel"])
        return flat(jnp.tanh(pixels.reshape(len(x), -1, 8))) @ p["fc"]["kernel"]

    with pytest.raises(errors.AmbiguousRulesError, match="linear or flattened 8"):
        layouts(apply, IMAGES, {**IMAGE, "fc": ((160, 5), (5, 160))})


@pytest.mark.parametrize(
    ("convolutions", "rows", "said"),
    [
        ({"conv": ((5, 3, 8), (8, 3, 5))}, 128, "linear or flattened 8 or flattened 16"),
        ({"a": ((3, 3, 3, 8), (8, 3, 3, 3)), "b": ((3, 3, 3, 5), (5, 3, 3, 3))}, 117, "linear or flattened 13"),
    ],
)
def test_without_a_trace_any_channels_are_possible(convolutions: dict[str, Any], rows: int, said: str) -> None:
    shapes: dict[str, Any] = {**convolutions, "fc": ((rows, 10), (10, rows))}
    tree = {name: {"kernel": drawn(*shape)} for name, (shape, _) in shapes.items()}
    state = {f"{name}.weight": drawn(*shape) for name, (_, shape) in shapes.items()}
    with pytest.raises(errors.AmbiguousRulesError, match=said):
        parity.infer_rules(state, tree)


TRANSPOSE: dict[str, Any] = {"strides": (2, 2), "padding": "SAME", "dimension_numbers": ("NHWC", "HWIO", "NHWC")}


@pytest.mark.parametrize("shape", [(3, 3, 4, 4), (3, 3, 6, 4)])
def test_a_transposed_convolution_with_the_kernel_of_its_convolution(shape: tuple[int, ...]) -> None:
    def apply(p: Any, x: Any) -> Any:
        return lax.conv_transpose(x, p["up"]["kernel"], transpose_kernel=True, **TRANSPOSE)

    x = drawn(2, 5, 5, shape[3])
    found = layouts(apply, x, {"up": (shape, (shape[3], shape[2], 3, 3))})
    assert found == {"up": "convolution"}
    found = layouts(
        lambda p, x: lax.conv_transpose(x, p["up"]["kernel"], **TRANSPOSE),
        drawn(2, 5, 5, shape[2]),
        {"up": (shape, (shape[2], shape[3], 3, 3))},
    )
    assert found == {"up": "transposed_convolution 1"}


def test_a_convolution_that_pytorch_does_not_have_is_refused() -> None:
    with pytest.raises(errors.UnmatchedArraysError):
        layouts(lambda p, x: conv(x, jnp.flip(p["conv"]["kernel"], (0, 1))), IMAGES, IMAGE)
    both = layouts(lambda p, x: conv(x, jnp.flip(jnp.flip(p["conv"]["kernel"], 0), 0)), IMAGES, IMAGE)
    assert both == {"conv": "convolution"}


@pytest.mark.parametrize("turned", [lambda k: jnp.swapaxes(k, 2, 3), lambda k: k + jnp.flip(k, (0, 1))])
def test_a_kernel_that_is_turned_otherwise_is_asked(turned: Callable[[Any], Any]) -> None:
    with pytest.raises(errors.AmbiguousRulesError, match="convolution or transposed_convolution 1"):
        layouts(lambda p, x: conv(x, turned(p["c"]["kernel"])), drawn(2, 5, 5, 4), {"c": ((3, 3, 4, 4), (4, 4, 3, 3))})


def test_a_lookup_in_a_transposed_table_is_asked() -> None:
    table = {"words": ((8, 8), (8, 8))}
    assert layouts(lambda p, x: p["words"]["kernel"][x], WORDS, table) == {"words": "same"}
    with pytest.raises(errors.AmbiguousRulesError, match="linear or same"):
        layouts(lambda p, x: p["words"]["kernel"].T[x], WORDS, table)


class Two(nn.Module):
    transposed: bool

    @nn.compact
    def __call__(self, x: Any) -> Any:
        return (nn.ConvTranspose if self.transposed else nn.Conv)(8, (3, 3), use_bias=False, name="c")(x)


def test_modules_of_one_path_and_two_classes_tell_nothing() -> None:
    def apply(p: Any, x: Any) -> Any:
        hidden = Two(False).apply({"params": {"c": p["c"]}}, x)
        return Two(True).apply({"params": {"c": p["d"]}}, hidden)

    shapes = {"c": ((3, 3, 8, 8), (8, 8, 3, 3)), "d": ((3, 3, 8, 8), (8, 8, 3, 3))}
    with pytest.raises(errors.AmbiguousRulesError, match=r"c/kernel from c\.weight: convolution or transposed_convol"):
        layouts(apply, drawn(2, 5, 5, 8), shapes)


def test_heads_are_no_channels() -> None:
    tree = {"query": {"kernel": np.zeros((8, 2, 4))}, "fc": {"kernel": np.zeros((32, 5))}}
    table = parity.infer_rules({"query.weight": drawn(8, 8), "fc.weight": drawn(5, 32)}, tree)
    assert {rule.target: rule.layout for rule in table.rules} == {"query/kernel": "heads_in", "fc/kernel": "linear"}


def test_a_square_parameter_of_its_own_is_asked() -> None:
    with pytest.raises(errors.AmbiguousRulesError, match="A from A: same or linear"):
        parity.infer_rules({"A": drawn(4, 4)}, {"A": np.zeros((4, 4), np.float32)})


@pytest.mark.parametrize("leaf", ["weight", "W"])
def test_only_a_kernel_is_known_to_be_transposed_without_a_trace(leaf: str) -> None:
    state, square = {"fc.weight": drawn(4, 4), "fc.bias": drawn(4)}, jax.ShapeDtypeStruct((4, 4), np.float32)
    bias = jax.ShapeDtypeStruct((4,), np.float32)
    with pytest.raises(errors.AmbiguousRulesError, match="linear or same"):
        parity.infer_rules(state, {"fc": {leaf: square, "bias": bias}})
    for tree in ({"fc": {"kernel": square, "bias": bias}}, {"fc": {"kernel": square, "bias": bias, "rate": bias}}):
        given = {**state, "fc.rate": drawn(4)} if "rate" in tree["fc"] else state
        table = parity.infer_rules(given, tree)
        assert {rule.layout for rule in table.rules if rule.target == "fc/kernel"} == {"linear"}


def test_names_of_any_script_have_their_letters() -> None:
    assert tokens("α1.größe_2") == ("α", "1", "größe", "2")
