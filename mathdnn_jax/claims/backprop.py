"""Claims about the hand-written reverse pass of a 1-D convolutional network: C6, E5."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.evidence import EPS, check_equal, seeds
from mathdnn_jax.nets import Conv1dLayer, conv1d_backprop, conv1d_forward

Layers = tuple[Conv1dLayer, ...]

kernels = st.sampled_from([(1,), (4,), (3, 1), (2, 5), (3, 4, 2), (1, 3, 1, 2)])
"""Few sizes, since each is compiled."""

mixes = st.tuples(*[st.integers(0, 3)] * 3).filter(any)
"""Shares of tanh, sine and sigmoid in the activation σ, normalised later to add up to 1."""


def _case(sizes: Sequence[int], outputs: int, seed: int) -> tuple[Layers, jax.Array, jax.Array]:
    """Random layers with kernels of these sizes, an x for which y_L has `outputs` entries, and a cotangent u of y_L."""
    rng = np.random.default_rng(seed)
    layers = tuple(Conv1dLayer(jnp.asarray(rng.normal(size=f)), jnp.asarray(rng.normal())) for f in sizes)
    length = outputs + sum(f - 1 for f in sizes)
    return layers, jnp.asarray(rng.normal(size=length)), jnp.asarray(rng.normal(size=outputs))


def _activation(mix: jax.Array) -> Callable[[jax.Array], jax.Array]:
    """A weighted mean of tanh, sine and sigmoid: |σ|, |σ′| and |σ″| ≤ 1, which the bounds use."""
    return lambda a: mix[0] * jnp.tanh(a) + mix[1] * jnp.sin(a) + mix[2] * jax.nn.sigmoid(a)


def _mixed(mix: Sequence[int]) -> jax.Array:
    return jnp.asarray(np.asarray(mix, np.float64) / sum(mix))


@jax.jit
def _by_hand(layers: Layers, x: jax.Array, u: jax.Array, mix: jax.Array) -> tuple[jax.Array, Layers]:
    """y_L, and the gradients of u · y_L by the hand-written reverse pass."""
    return conv1d_backprop(layers, x, _activation(mix), cotangent=u)


@jax.jit
def _by_jax(layers: Layers, x: jax.Array, u: jax.Array, mix: jax.Array) -> tuple[jax.Array, Layers]:
    """y_L, and the gradients of u · y_L that JAX derives from the forward pass."""
    y, pull = jax.vjp(lambda layers: conv1d_forward(layers, x, _activation(mix)), layers)
    return y, pull(u)[0]


def _rounding(layers: Layers, x: jax.Array, u: jax.Array) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """How far y_L, and each layer's two gradients, may be from the exact ones, by running both passes on magnitudes.

    A sum of n terms is off by at most n ε times the sum of their magnitudes. An error in a_ℓ causes no greater errors
    in σ(a_ℓ) and σ′(a_ℓ), which add 8 ε of their own.
    """
    weights = [(np.abs(kernel), float(abs(bias))) for kernel, bias in layers]
    inputs, slopes = [(np.abs(x), np.zeros(len(x)))], []
    for kernel, bias in weights:
        y, units = inputs[-1]
        a = np.correlate(y, kernel, "valid") + bias
        units = np.correlate(units, kernel, "valid") + (len(kernel) + 2) * a
        slopes.append(units + 8)
        inputs.append((np.ones_like(a), units + 8))
    bounds: list[tuple[np.ndarray, np.ndarray]] = []
    v, v_units = np.abs(np.asarray(u)), np.zeros(len(u))
    for k in reversed(range(len(layers))):
        y, units = inputs[k]
        size, terms = np.correlate(y, v, "valid"), len(v) + 2
        by_kernel = np.correlate(units, v, "valid") + np.correlate(y, v_units, "valid") + terms * size
        bounds.insert(0, (EPS * by_kernel, EPS * (v_units.sum() + terms * v.sum())))
        if k:
            kernel = weights[k][0]
            moved = np.convolve(v, kernel, "full")
            v_units = np.convolve(v_units, kernel, "full") + (slopes[k - 1] + len(kernel) + 4) * moved
            v = moved
    return EPS * slopes[-1], bounds


@claim(
    "C6.gradient",
    "v_L = u, v_{ℓ−1} = σ′(a_{ℓ−1}) ⊙ A_{w_ℓ}ᵀ v_ℓ: ∂(u · y_L)/∂w_ℓ = A_{v_ℓ} y_{ℓ−1}, ∂(u · y_L)/∂b_ℓ = 1 · v_ℓ, "
    "the same as jax.grad derives",
    source="course 001, P3; course 004, P4",
    sizes=kernels,
    mix=mixes,
    seed=seeds,
)
def reverse_pass(sizes: Sequence[int], mix: Sequence[int], seed: int) -> None:
    """Compare the outputs and all gradients, by hand, by JAX and by the formulas with matrices, layer by layer.

    y_L has as many entries as the first kernel.
    """
    layers, x, u = _case(sizes, sizes[0], seed)
    y, gradients = _by_hand(layers, x, u, _mixed(mix))
    y_bound, bounds = _rounding(layers, x, u)
    for name, (wanted_y, wanted) in (
        ("JAX", _by_jax(layers, x, u, _mixed(mix))),
        ("matrices", _by_matrices(layers, np.asarray(x), np.asarray(u), np.asarray(_mixed(mix)))),
    ):
        check_equal(f"y_L, {name}", np.asarray(y), np.asarray(wanted_y), 2 * y_bound)
        for k, (mine, theirs, layer_bounds) in enumerate(zip(gradients, wanted, bounds, strict=True), start=1):
            for what, given, expected, bound in zip(("w", "b"), mine, theirs, layer_bounds, strict=True):
                check_equal(f"∂/∂{what}_{k}, {name}", np.asarray(given), np.asarray(expected), 2 * np.asarray(bound))


def matrix_of(kernel: np.ndarray, columns: int) -> np.ndarray:
    """A_w: row i has w in the columns i to i + f − 1."""
    matrix = np.zeros((columns - len(kernel) + 1, columns))
    for i in range(len(matrix)):
        matrix[i, i : i + len(kernel)] = kernel
    return matrix


def _by_matrices(layers: Layers, x: np.ndarray, u: np.ndarray, mix: np.ndarray) -> tuple[np.ndarray, list[Any]]:
    """y_L and the gradients of u · y_L by the printed recursion, with every A formed."""
    inputs, slopes = [x], []
    for k, (kernel, bias) in enumerate(layers):
        a = matrix_of(np.asarray(kernel), len(inputs[-1])) @ inputs[-1] + float(bias)
        sigmoid = 1 / (1 + np.exp(-a))
        activated = mix @ [np.tanh(a), np.sin(a), sigmoid]
        slopes.append(mix @ [1 - np.tanh(a) ** 2, np.cos(a), sigmoid * (1 - sigmoid)])
        inputs.append(a if k == len(layers) - 1 else activated)
    v = u
    gradients: list[Any] = []
    for k in reversed(range(len(layers))):
        gradients.insert(0, (matrix_of(v, len(inputs[k])) @ inputs[k], v.sum()))
        if k:
            v = slopes[k - 1] * (matrix_of(np.asarray(layers[k].kernel), len(inputs[k])).T @ v)
    return inputs[-1], gradients


lengths = st.sampled_from([(1, 4), (3, 3), (2, 5), (4, 6)])
"""A kernel's length, and that of the vector."""


@jax.jit
def _convolved(w: jax.Array, v: jax.Array) -> jax.Array:
    return conv1d_forward([Conv1dLayer(w, jnp.zeros(()))], v)


@claim(
    "C6.convolution",
    "A_w v is a convolution, (A_w v)_i = Σ_j w_j v_{i+j}, where A_w has w_j at (i, i + j)",
    source="course 001, P3; course 004, P4",
    sizes=lengths,
    seed=seeds,
)
def matrix_product_is_a_convolution(sizes: tuple[int, int], seed: int) -> None:
    """Multiply by the matrix, add up the terms, and run a layer without bias or activation."""
    rng = np.random.default_rng(seed)
    w, v = rng.normal(size=sizes[0]), rng.normal(size=sizes[1])
    bound = 4 * EPS * len(w) * np.correlate(np.abs(v), np.abs(w), "valid")
    terms = np.array([sum(w[j] * v[i + j] for j in range(len(w))) for i in range(len(bound))])
    check_equal("Σ_j w_j v_{i+j} against A_w v", terms, matrix_of(w, len(v)) @ v, bound)
    check_equal("the layer against A_w v", _convolved(w, v), matrix_of(w, len(v)) @ v, bound)


@jax.jit
def _transposed(w: jax.Array, u: jax.Array) -> jax.Array:
    """A_wᵀ u from the reverse pass of two layers without activations.

    The derivative by the first kernel is A_v x, which lists v = A_wᵀ u from its last entry on if x has a single 1.
    """
    count = len(w) + len(u) - 1
    first = Conv1dLayer(jnp.ones(count, w.dtype), jnp.zeros((), w.dtype))
    x = jnp.zeros(2 * count - 1, w.dtype).at[count - 1].set(1)
    layers = [first, Conv1dLayer(w, jnp.zeros((), w.dtype))]
    return conv1d_backprop(layers, x, lambda a: a, cotangent=u)[1][0].kernel[::-1]


@claim(
    "C6.transposed",
    "A_wᵀ u is a transposed convolution, (A_wᵀ u)_k = Σ_j w_j u_{k−j}, with u = 0 outside its entries",
    source="course 001, P3; course 004, P4",
    sizes=lengths,
    seed=seeds,
)
def transposed_product_is_a_transposed_convolution(sizes: tuple[int, int], seed: int) -> None:
    """Multiply by the transposed matrix, add up the terms, and read A_wᵀ u off the reverse pass."""
    rng = np.random.default_rng(seed)
    w, u = rng.normal(size=sizes[0]), rng.normal(size=sizes[1] - sizes[0] + 1)
    expected = matrix_of(w, sizes[1]).T @ u
    bound = 4 * EPS * len(w) * np.convolve(np.abs(w), np.abs(u))
    places = [[(j, k - j) for j in range(len(w)) if 0 <= k - j < len(u)] for k in range(sizes[1])]
    terms = np.array([sum(w[j] * u[i] for j, i in pairs) for pairs in places])
    check_equal("Σ_j w_j u_{k−j} against A_wᵀ u", terms, expected, bound)
    check_equal("the reverse pass against A_wᵀ u", _transposed(w, u), expected, bound)


def equations(jaxpr: Any) -> Iterator[Any]:
    """All equations of a program, including those of the programs that it calls."""
    for equation in jaxpr.eqns:
        yield equation
        for parameter in equation.params.values():
            inner = getattr(parameter, "jaxpr", parameter)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


@claim(
    "C6.no_matrix",
    "the reverse pass of L layers takes 3 L − 1 convolutions, no matrix product, and no array of more than n_0 entries",
    source="course 001, P3; course 004, P4",
    sizes=kernels,
    outputs=st.integers(20, 2000),
)
def no_matrix(sizes: Sequence[int], outputs: int) -> None:
    """Count operations in the program: L convolutions forward, L for the kernels' gradients, L − 1 transposed ones."""

    def shaped(*shape: int) -> Any:
        return jax.ShapeDtypeStruct(shape, jnp.float64)

    layers = [Conv1dLayer(shaped(size), shaped()) for size in sizes]
    x, u = shaped(outputs + sum(size - 1 for size in sizes)), shaped(outputs)
    program = jax.make_jaxpr(lambda layers, x, u: conv1d_backprop(layers, x, cotangent=u))(layers, x, u)
    found = list(equations(program.jaxpr))
    names = [equation.primitive.name for equation in found]
    products, convolutions = names.count("dot_general"), names.count("conv_general_dilated")
    if products or convolutions != 3 * len(sizes) - 1:
        raise AssertionError(f"{products} matrix products and {convolutions} convolutions for {len(sizes)} layers")
    largest = max(variable.aval.size for equation in found for variable in equation.outvars)
    if largest > x.size:
        raise AssertionError(f"an array of {largest} entries for an x of {x.size}")


@claim(
    "E5.last_layer",
    "v_ℓ = (∂y_L/∂y_ℓ) diag σ′(a_ℓ) gives ∂y_L/∂w_ℓ = (A_{v_ℓ} y_{ℓ−1})ᵀ and ∂y_L/∂b_ℓ = v_ℓ 1 for every ℓ up to L",
    source="course 004, P4; erratum E5",
    verdict="refuted",
    sizes=kernels,
    seed=st.integers(0, 9),
)
def derivative_of_the_last_layer(sizes: Sequence[int], seed: int) -> None:
    """Start the reverse pass from σ′(a_L), σ = tanh, and look at the derivative by b_L, which is added to y_L."""
    layers, x, _ = _case(sizes, 1, seed)
    y, given, expected = (float(number) for number in _mistaken_and_right(layers, x))
    if abs(given - expected) > 1e-6:
        raise AssertionError(
            f"it gives ∂y_L/∂b_L = {given:.9g} = σ′(a_L) for a_L = {y:.6g}; the last layer has no σ, so that the "
            f"derivative is {expected:.9g}"
        )


@jax.jit
def _mistaken_and_right(layers: Layers, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """y_L, and ∂y_L/∂b_L by the reverse pass that starts from σ′(a_L) and by JAX."""
    tanh = _mixed((1, 0, 0))
    (y,), wanted = _by_jax(layers, x, jnp.ones(1), tanh)
    _, mistaken = _by_hand(layers, x, (1 - jnp.square(jnp.tanh(y)))[None], tanh)
    return y, mistaken[-1].bias, wanted[-1].bias
