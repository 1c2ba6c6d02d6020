"""Every leaf of both networks' outputs is compared, as it is, in its declared layout, or it is an error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import parity
from mathdnn_jax.errors import ConfigurationError, EventShapeError
from parity import errors
from parity.certification.outputs import CHANNELS_FIRST, SAME, fitting, moved, moved_back, pair_outputs
from parity.nested import Leaf

from .pairs import certify, converted, normal

torch = pytest.importorskip("torch", reason="a certificate runs the PyTorch network")

# Many small programs, each run a few times.
pytestmark = pytest.mark.usefixtures("quick_compilation", "no_search")
Function = Callable[[Any], Any]


class Moments(NamedTuple):
    mean: Any
    log_var: Any


@dataclass
class Answer:
    logits: Any
    hidden: Any = None


RIGHT: dict[str, tuple[Function, Function, dict[str, int]]] = {
    "nested": (
        lambda h: {"y": h, "more": [h.exp(), None, (h, 2.5)]},
        lambda h: {"more": (jnp.exp(h), None, [h, 2.5]), "y": h},
        {"output/more/0": 256, "output/more/2/0": 256, "output/more/2/1": 1, "output/y": 256},
    ),
    "named tuples, by their names": (
        lambda h: Moments(h, h.exp()),
        lambda h: Moments(log_var=jnp.exp(h), mean=h),
        {"output/mean": 256, "output/log_var": 256},
    ),
    "a named tuple and a plain one": (lambda h: Moments(h, -h), lambda h: (h, -h), {"output/0": 256, "output/1": 256}),
    "a dataclass and a dict": (Answer, lambda h: {"hidden": None, "logits": h}, {"output/logits": 256}),
    "whole numbers and truth values": (
        lambda h: (h.argmax(-1), h > 0),
        lambda h: (jnp.argmax(h, -1), h > 0),
        {"output/0": 64, "output/1": 256},
    ),
    "a scalar": (lambda h: h.sum(), lambda h: h.sum(), {"output": 1}),
    "complex numbers, by both parts": (torch.fft.rfft, jnp.fft.rfft, {"output": 64 * 3 * 2}),
    "an empty leaf beside others": (lambda h: (h, h[:, :0]), lambda h: (h, h[:, :0]), {"output/0": 256}),
}


@pytest.mark.parametrize("case", RIGHT)
def test_all_leaves_are_compared(case: str) -> None:
    torch_then, jax_then, sizes = RIGHT[case]
    certificate = certify(torch_then, jax_then)
    layers = {entry["layer"]: entry["values"] for entry in certificate["layers"]}
    assert layers == {"dense": 256, **sizes}
    assert (certificate["output"]["leaves"], certificate["output"]["numbers"]) == (len(sizes), sum(sizes.values()))


WRONG_VALUES: dict[str, tuple[Function, Function, str]] = {
    "the second of two": (lambda h: (h, h.exp()), lambda h: (h, -h), "output/1"),
    "deep inside": (lambda h: {"a": [h, {"b": h}]}, lambda h: {"a": [h, {"b": 1.00001 * h}]}, "output/a/1/b"),
    "named tuples taken for plain ones": (lambda h: Moments(h, -h), lambda h: (-h, h), "output/0"),
    "an index": (lambda h: h.argmax(-1), lambda h: jnp.argmin(h, -1), "output"),
    "a truth value": (lambda h: h > 0, lambda h: h >= 0.5, "output"),
    "a number of Python's": (lambda h: (h, 3), lambda h: (h, 4), "output/1"),
    "an imaginary part": (torch.fft.rfft, lambda h: jnp.fft.rfft(h).conj(), "output"),
    "a scalar": (lambda h: h.sum(), lambda h: h.mean(), "output"),
}


@pytest.mark.parametrize("case", WRONG_VALUES)
def test_a_leaf_that_differs_fails_by_its_name(case: str) -> None:
    torch_then, jax_then, name = WRONG_VALUES[case]
    with pytest.raises(errors.CertificationError, match=f"first in {name}:") as caught:
        certify(torch_then, jax_then)
    failed = [entry["layer"] for entry in caught.value.certificate["layers"] if not entry["passed"]]
    assert failed[0] == name
    assert "dense" not in failed


WRONG_TREES: dict[str, tuple[Function, Function, str]] = {
    "an array and a dict": (lambda h: h, lambda h: {"y": h}, "output is a dict (y) in JAX and floating numbers"),
    "a leaf more": (lambda h: (h,), lambda h: (h, h), "output is a tuple of 2 in JAX and a tuple of 1 in PyTorch"),
    "a name more": (lambda h: {"a": h}, lambda h: {"a": h, "b": h}, "output is a dict (a, b) in JAX and a dict (a)"),
    "a name less": (lambda h: {"a": h, "b": h}, lambda h: {"a": h}, "output is a dict (a) in JAX and a dict (a, b)"),
    "other names": (lambda h: {"a": {"b": h}}, lambda h: {"a": {"c": h}}, "output/a is a dict (c) in JAX"),
    "a dict and a tuple": (lambda h: {"0": h}, lambda h: (h,), "output is a tuple of 1 in JAX and a dict (0)"),
    "None on one side": (lambda h: (h, None), lambda h: (h, h), "output/1 is floating numbers of shape (64, 4) in JAX"),
    "whole and floating": (lambda h: (h > 0).float(), lambda h: h > 0, "output is boolean numbers"),
    "truth values and whole": (lambda h: (h > 0).long(), lambda h: h > 0, "and whole numbers of shape (64, 4)"),
    "no numbers": (lambda h: None, lambda h: None, "there is nothing to compare"),
    "empty arrays": (lambda h: h[:0], lambda h: h[:0], "there is nothing to compare"),
    "text": (lambda h: (h, "a"), lambda h: (h, "a"), "output/1 is of the type str, which cannot be compared"),
    "an object": (
        lambda h: [object(), h],
        lambda h: (h, h),
        "output/0 is of the type object, which cannot",
    ),
    "what mutable collections return": (lambda h: h, lambda h: (h, {"batch_stats": {}}), "output is a tuple of 2"),
}


@pytest.mark.parametrize("case", WRONG_TREES)
def test_what_cannot_be_compared_is_an_error(case: str) -> None:
    torch_then, jax_then, words = WRONG_TREES[case]
    with pytest.raises(errors.OutputStructureError) as caught:
        certify(torch_then, jax_then)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "spoil", [lambda h: h[:, :2], lambda h: h.sum(), lambda h: h[None], lambda h: h[:, :, None]], ids=range(4)
)
def test_another_shape_is_an_error(spoil: Function) -> None:
    with pytest.raises(EventShapeError, match=r"network's output/1 has shape .* PyTorch's has \(64, 4\)"):
        certify(lambda h: (h, h), lambda h: (h, spoil(h)))


def test_gradients_of_all_leaves_are_compared() -> None:
    def stopped(h: Any) -> Any:
        return h, 2.5, jax.lax.stop_gradient(jnp.exp(h)), jnp.argmax(h, -1)

    with pytest.raises(errors.CertificationError, match="in 3 of 3 gradients, first in inputs"):
        certify(lambda h: (h, 2.5, h.exp(), h.argmax(-1)), stopped, gradients=True)
    assert certify(torch.fft.rfft, jnp.fft.rfft, gradients=True)["passed"]
    with pytest.raises(ConfigurationError, match="gradients= needs an output of floating-point numbers"):
        certify(lambda h: h > 0, lambda h: h > 0, gradients=True)


def test_a_transposed_matrix_of_equal_sizes_fails() -> None:
    with pytest.raises(errors.CertificationError, match="first in output:"):
        certify(lambda h: h, jnp.transpose, normal(4, 4))


def array(output: Any) -> Any:
    """What a network without mutable collections returns."""
    return output


def images() -> tuple[Any, nn.Module, np.ndarray, Any]:
    torch.manual_seed(0)
    module, network, x = (
        torch.nn.Sequential(torch.nn.Conv2d(4, 4, 1)),
        nn.Sequential([nn.Conv(4, (1, 1))]),
        normal(8, 4, 4, 4),
    )
    return module, network, x, converted(module, network, x)


def test_images_of_equal_sizes_are_compared_with_the_channels_last() -> None:
    module, network, x, variables = images()
    certificate = parity.certify(module, network.apply, variables, x, gradients=True)
    assert certificate["output"]["layouts"] == {"output": CHANNELS_FIRST}
    for axes in ((0, 3, 1, 2), (0, 2, 1, 3)):
        with pytest.raises(errors.CertificationError, match="may have the channels first in PyTorch or not"):
            parity.certify(
                module, lambda v, y, axes=axes: jnp.transpose(array(network.apply(v, y)), axes), variables, x
            )


def test_a_layout_can_be_declared() -> None:
    module, network, x, variables = images()

    def as_pytorch(tree: Any, y: Any) -> Any:
        return {"y": jnp.transpose(array(network.apply(tree, y)), (0, 3, 1, 2))}

    class Named(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.layers = module

        def forward(self, y: Any) -> Any:
            return {"y": self.layers(y)}

    for declared in ("same", {"output/y": "same"}):
        assert parity.certify(Named(), as_pytorch, variables, x, output_layout=declared, gradients=True)["passed"]
    for wrong in ("last", {"output": "same"}, {"output/y": "last"}):
        with pytest.raises(ConfigurationError, match=r"output_layout= is one of .* the leaves are output/y"):
            parity.certify(Named(), as_pytorch, variables, x, output_layout=wrong)


def test_three_axes_of_equal_sizes_need_a_declaration() -> None:
    x = normal(8, 4, 4)
    with pytest.raises(
        errors.AmbiguousLayoutError, match=r"output of shape \(8, 4, 4\) may be .* declare output_layout="
    ):
        certify(lambda h: h, lambda h: h.swapaxes(1, 2), x, torch_inputs=x)
    assert certify(lambda h: h, lambda h: h, x, torch_inputs=x, output_layout="same")["passed"]
    with pytest.raises(errors.CertificationError, match="first in output:"):
        certify(lambda h: h, lambda h: h.swapaxes(1, 2), x, torch_inputs=x, output_layout="same")
    # JAX returns what is a signal in PyTorch, by the declaration alone.
    assert certify(lambda h: h, lambda h: h.swapaxes(1, 2), x, torch_inputs=x, output_layout="channels_first")["passed"]


@pytest.mark.parametrize(
    ("theirs", "ours", "layouts"),
    [
        ((8, 3), (8, 3), [SAME]),
        ((8, 3), (3, 8), []),
        ((8, 3, 5), (8, 3, 5), [SAME]),
        ((8, 3, 5), (8, 5, 3), [CHANNELS_FIRST]),
        ((8, 5, 5), (8, 5, 5), [SAME, CHANNELS_FIRST]),
        ((8, 1, 1), (8, 1, 1), [SAME]),
        ((8, 3, 4, 5), (8, 4, 5, 3), [CHANNELS_FIRST]),
        ((8, 3, 4, 4), (8, 3, 4, 4), [SAME]),
        ((8, 3, 1, 1), (8, 1, 1, 3), [CHANNELS_FIRST]),
        ((8, 3, 1, 1), (8, 3), []),
        ((), (), [SAME]),
        ((), (1,), []),
    ],
)
def test_layouts_that_fit(theirs: tuple[int, ...], ours: tuple[int, ...], layouts: list[str]) -> None:
    assert fitting(theirs, ours) == layouts
    array = np.arange(np.prod(theirs, dtype=int)).reshape(theirs)
    for layout in layouts:
        assert moved(array, layout).shape == ours
        np.testing.assert_array_equal(moved_back(moved(array, layout), layout), array)


def test_four_axes_are_images_only_where_the_shape_allows_it() -> None:
    def layout(theirs: tuple[int, ...], ours: tuple[int, ...]) -> tuple[str, bool]:
        (found,) = pair_outputs(Leaf("", ours, "floating"), Leaf("", theirs, "floating"), None)
        return found.layout, found.either

    assert layout((2, 3, 3, 3), (2, 3, 3, 3)) == (CHANNELS_FIRST, True)
    assert layout((2, 3, 4, 4), (2, 3, 4, 4)) == (SAME, False)
    assert layout((2, 3, 4, 4), (2, 4, 4, 3)) == (CHANNELS_FIRST, False)


@pytest.mark.parametrize(
    "tree", [lambda a, b: {"a/b": a, "a": {"b": b}}, lambda a, b: {"h/0": a, "h": [b]}], ids=["dicts", "a list"]
)
def test_two_leaves_of_one_name_cannot_be_told_apart(tree: Callable[[Any, Any], Any]) -> None:
    with pytest.raises(errors.OutputStructureError, match=r"two leaves of the output are called output/(a/b|h/0)"):
        certify(lambda h: tree(h, -h), lambda h: tree(jnp.zeros_like(h), -h))


@pytest.mark.parametrize("mask", [-np.inf, -1e9, "lowest"])
def test_masked_numbers_hide_no_mistake(mask: Any) -> None:
    def least(dtype: Any) -> float:
        return float(np.finfo(np.dtype(str(dtype).removeprefix("torch."))).min) if mask == "lowest" else mask

    def there(h: Any) -> Any:
        return h.masked_fill(torch.tensor([False, True, False, False]), least(h.dtype))

    def here(h: Any, factor: float = 1.0) -> Any:
        return jnp.where(jnp.array([False, True, False, False]), least(h.dtype), h * factor)

    assert certify(there, here)["passed"]
    with pytest.raises(errors.CertificationError, match="it is the formula, or the weights"):
        certify(there, lambda h: here(h, 1 + 1e-5))
