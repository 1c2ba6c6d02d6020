"""Every convolution algorithm agrees with XLA's own convolution, in its values and in its derivatives."""

from __future__ import annotations

import re
import sys
from typing import Any

import chex
import jax
import numpy as np
import pytest
from jax import lax

from mathdnn_jax.nets.kernels import pointwise_first
from mathdnn_jax.nets.kernels.correlate import correlate

choice = sys.modules[correlate.__module__]

# Image, kernel, strides, pads, dilations, input dilations. The name says which algorithm the example is for.
WINDOWS: dict[str, tuple[Any, ...]] = {
    "thin patches": ((7, 6, 2), (3, 3, 2, 5), (1, 1), ((1, 1), (1, 1)), (1, 1), None),
    "thin patches with strides": ((7, 6, 1), (3, 2, 1, 4), (2, 3), ((1, 0), (0, 2)), (1, 1), None),
    "few features": ((5, 6, 16), (3, 3, 16, 2), (1, 1), ((1, 1), (1, 1)), (1, 1), None),
    "few features, pads that cut": ((6, 7, 16), (3, 2, 16, 1), (1, 1), ((-1, 2), (0, -1)), (1, 1), None),
    "an image smaller than its kernel": ((2, 3, 6), (4, 3, 6, 7), (1, 1), ((3, 3), (2, 2)), (1, 1), None),
    "a pixel": ((1, 1, 6), (4, 3, 6, 7), (1, 1), ((3, 3), (2, 2)), (1, 1), (1, 1)),
    "one axis, few features": ((9, 16), (5, 16, 1), (1,), ((2, 2),), (1,), None),
    "three axes, small image": ((2, 1, 2, 6), (2, 2, 3, 6, 7), (1, 1, 1), ((1, 1), (1, 0), (2, 2)), (1, 1, 1), None),
    "1 x 1": ((4, 5, 6), (1, 1, 6, 7), (1, 1), ((0, 0), (0, 0)), (1, 1), None),
    "XLA's": ((7, 6, 8), (3, 3, 8, 9), (1, 1), ((1, 1), (1, 1)), (1, 1), None),
    "XLA's with strides and dilations": ((9, 8, 8), (3, 2, 8, 9), (2, 1), ((1, 2), (0, 1)), (1, 2), None),
    "XLA's transposed": ((4, 3, 8), (3, 3, 8, 6), (1, 1), ((1, 2), (1, 1)), (1, 1), (2, 2)),
    "XLA's on one axis": ((9, 20), (5, 20, 9), (2,), ((2, 2),), (1,), None),
    "XLA's on three axes": ((4, 3, 5, 8), (2, 2, 3, 8, 6), (1, 1, 1), ((1, 0), (0, 1), (1, 1)), (1, 1, 1), None),
}


# Second derivatives take seconds to compile. These are variations of examples that every run checks.
VARIATIONS = {"few features, pads that cut", "one axis, few features", "three axes, small image", "XLA's on three axes"}
checked = [pytest.param(name, marks=pytest.mark.long if name in VARIATIONS else ()) for name in WINDOWS]


@pytest.mark.parametrize("name", checked)
def test_values_and_derivatives_are_those_of_the_definition(name: str) -> None:
    with jax.enable_x64(True):
        check(*WINDOWS[name])


@pytest.mark.parametrize("name", WINDOWS)
def test_each_example_uses_the_algorithm_in_its_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[str] = []
    for module, algorithm in ((choice, choice._by_patches), (pointwise_first, pointwise_first.pointwise_first)):

        def spy(*given: Any, of: Any = algorithm, **named: Any) -> Any:
            used.append(of.__name__)
            return of(*given, **named)

        monkeypatch.setattr(module, algorithm.__name__, spy)
    image, taps, *rest = WINDOWS[name]
    jax.eval_shape(ours(*rest), np.ones((2, *image), np.float32), np.ones(taps, np.float32))
    patches, none = name.startswith(("thin", "1 x 1")), name.startswith("XLA's")
    assert used == ([] if none else ["_by_patches" if patches else "pointwise_first"])


@pytest.mark.parametrize("count", [0, 2, 4, 5])
def test_many_images_are_convolved_some_at_a_time(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    image, taps, *rest = WINDOWS["an image smaller than its kernel"]
    monkeypatch.setattr(pointwise_first, "PRODUCTS", 2 * np.prod(image[:-1]) * np.prod(taps[:-2]) * taps[-1])
    with jax.enable_x64(True):
        program = str(jax.make_jaxpr(ours(*rest))(np.ones((count, *image)), np.ones(taps)))
        assert ("scan" in program) == (count > 2)
        check(image, taps, *rest, count=count)


def ours(strides: Any, pads: Any, dilations: Any, input_dilations: Any) -> Any:
    return lambda x, kernel: correlate(x, kernel, strides, pads, dilations, 1, input_dilations)


def check(image: Any, taps: Any, *window: Any, count: int = 2) -> None:
    strides, pads, dilations, input_dilations = window
    rng = np.random.default_rng(0)
    x, dx = (rng.standard_normal((count, *image)) for _ in range(2))
    kernel, dkernel = (rng.standard_normal(taps) for _ in range(2))
    letters = "DHW"[-len(strides) :]

    def definition(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return lax.conv_general_dilated(
            x,
            kernel,
            strides,
            pads,
            lhs_dilation=input_dilations,
            rhs_dilation=dilations,
            dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
        )

    convolve = ours(*window)

    @jax.jit
    def by_definition(x: jax.Array, dx: jax.Array, kernel: jax.Array, dkernel: jax.Array) -> tuple[jax.Array, ...]:
        return definition(x, kernel), definition(dx, kernel), definition(x, dkernel)

    expected, along_x, along_kernel = map(np.asarray, by_definition(x, dx, kernel, dkernel))
    weights = rng.standard_normal(expected.shape)

    @jax.jit
    def all_of_it(x: jax.Array, kernel: jax.Array, weights: jax.Array) -> tuple[jax.Array, ...]:
        y, along = jax.jvp(convolve, (x, kernel), (dx, dkernel))
        _, back = jax.vjp(convolve, x, kernel)
        # One gradient for each example of a batch, as per-example gradients and Jacobians need it.
        each = jax.vmap(lambda x, w: jax.vjp(lambda k: convolve(x[None], k), kernel)[1](w[None])[0])(x, weights)
        return y, along, *back(weights), each

    y, along, of_image, of_kernel, each = map(np.asarray, all_of_it(x, kernel, weights))
    # Bilinear: the derivative along (dx, dkernel), and its adjoint.
    chex.assert_trees_all_close(
        {"value": y, "derivative": along, "gradients of the examples, summed": each.sum(0)},
        {"value": expected, "derivative": along_x + along_kernel, "gradients of the examples, summed": of_kernel},
        rtol=1e-12,
        atol=1e-12 * taps[-2] * np.prod(taps[:-2]),
    )
    np.testing.assert_allclose((of_image * dx).sum(), (weights * along_x).sum(), rtol=1e-10)
    np.testing.assert_allclose((of_kernel * dkernel).sum(), (weights * along_kernel).sum(), rtol=1e-10)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the order of axes matters to XLA's compiler for processors")
@pytest.mark.parametrize("side", [3, 5])
def test_gradients_within_loops_are_the_convolutions_that_xla_is_fast_at(side: int) -> None:
    """With other orders of axes, which XLA corrects only outside of loops, they take a hundred times as long."""
    images = jax.ShapeDtypeStruct((2, 4, 12, 12, 16), np.float32)
    taps = jax.ShapeDtypeStruct((side, side, 16, 16), np.float32)

    def step(kernel: jax.Array, x: jax.Array) -> tuple[jax.Array, None]:
        def loss(x: jax.Array, kernel: jax.Array) -> jax.Array:
            return (correlate(x, kernel, (1, 1), ((1, 1), (1, 1)), (1, 1), 1) ** 2).sum()

        of_image, of_kernel = jax.grad(loss, (0, 1))(x, kernel)
        return kernel - of_kernel * of_image.mean(), None

    program = jax.jit(lambda kernel, images: lax.scan(step, kernel, images)[0]).lower(taps, images).compile()
    orders = re.findall(r"convolution\(.*dim_labels=(\S+?),", program.as_text() or "")
    assert len(orders) == 3
    assert set(orders) == {"b01f_01io->b01f"}
