"""PLU maps built from a matrix: the factors that come back, and the matrices that are refused (F5)."""

from __future__ import annotations

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from mathdnn_jax.bijectors import conv1x1_from_matrix, plu, plu_from_matrix, plu_matrix
from mathdnn_jax.errors import ConfigurationError

EPS = float(np.finfo(np.float64).eps)

seeds = st.integers(0, 2**31 - 1)


@given(seed=seeds, dim=st.sampled_from([1, 2, 3, 7, 12, 48]))
def test_it_inverts_plu(seed: int, dim: int) -> None:
    with jax.enable_x64(True):
        rng = np.random.default_rng(seed)
        order = rng.permutation(dim)
        given_params = {
            "lower": jnp.asarray(np.tril(rng.normal(size=(dim, dim)), -1) / dim),
            "upper": jnp.asarray(np.triu(rng.normal(size=(dim, dim)), 1) / dim),
            "diagonal": jnp.asarray(rng.uniform(0.1, 10, dim) * rng.choice([-1, 1], dim)),
        }
        bijector, found = plu_from_matrix(plu_matrix(given_params, order), order)
        for name, expected in given_params.items():
            np.testing.assert_allclose(found[name], expected, rtol=0, atol=1e-10)

        x = jnp.asarray(rng.normal(size=(2, dim)))
        for value, expected in zip(bijector.forward(found, x), plu(dim, order).forward(given_params, x), strict=True):
            np.testing.assert_allclose(value, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("exponents", [(-6, 6), (6, -6), (-6, -6), (6, 6), (6, 0, -6), (-6, 0, 6)])
def test_it_inverts_plu_for_scales_of_any_size(exponents: tuple[int, ...]) -> None:
    with jax.enable_x64(True):
        dim = len(exponents)
        s = -(10.0 ** np.array(exponents))
        given_params = {"lower": jnp.full((dim, dim), 0.5), "upper": jnp.full((dim, dim), 2.0), "diagonal": s}
        a = plu_matrix(given_params)
        _, found = plu_from_matrix(a, np.arange(dim))
        # A's own rounding is that of its entries, up to |L||U| ε, divided by the pivots that follow.
        below, above = np.tril(np.full((dim, dim), 0.5), -1), np.triu(np.full((dim, dim), 2.0), 1)
        np.testing.assert_allclose(found["diagonal"], s, rtol=0, atol=64 * EPS * np.abs(a).max())
        np.testing.assert_allclose(found["upper"], above, rtol=0, atol=64 * EPS * np.abs(a).max())
        np.testing.assert_allclose(found["lower"], below, rtol=0, atol=64 * EPS * max(1, 2 / np.abs(s).min()))


@given(seed=seeds, dim=st.sampled_from([1, 2, 5, 64]), scale=st.sampled_from([1e-6, 1.0, 1e6]))
def test_the_map_is_the_matrix(seed: int, dim: int, scale: float) -> None:
    with jax.enable_x64(True):
        rng = np.random.default_rng(seed)
        a, x = scale * rng.normal(size=(dim, dim)), rng.normal(size=(3, 2, dim))
        bijector, params = plu_from_matrix(a)
        z, log_det = bijector.forward(params, jnp.asarray(x))
        np.testing.assert_allclose(z, x @ a.T, rtol=0, atol=1e-13 * dim * scale * np.abs(x).max() * 4)
        condition, exact = np.linalg.cond(a), np.linalg.slogdet(a)[1]
        bound = EPS * (dim * condition + 8 * abs(exact))
        np.testing.assert_allclose(log_det, np.full((3, 2), exact), rtol=0, atol=bound)
        back, _ = bijector.inverse(params, z)
        np.testing.assert_allclose(back, x, rtol=0, atol=8 * EPS * dim * condition * np.abs(x).max())
        assert np.abs(params["lower"]).max() <= 1


def test_a_convolution_turns_the_channels_of_every_pixel() -> None:
    with jax.enable_x64(True):
        a = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
        x = np.random.default_rng(1).normal(size=(2, 4, 5, 3))
        bijector, params = conv1x1_from_matrix(a)
        z, log_det = bijector.forward(params, jnp.asarray(x))
        np.testing.assert_allclose(z, np.einsum("oi,bhwi->bhwo", a, x), rtol=0, atol=1e-14)
        np.testing.assert_allclose(log_det, np.zeros(2), atol=1e-13)


@pytest.mark.parametrize(("dtype", "expected"), [(np.float32, "float32"), (np.float64, "float64"), (int, "float64")])
def test_the_parameters_have_the_type_of_the_matrix(dtype: type, expected: str) -> None:
    matrix: np.ndarray = np.array([[0, 2], [1, 1]], dtype)
    with jax.enable_x64(True):
        assert {str(leaf.dtype) for leaf in plu_from_matrix(matrix)[1].values()} == {expected}
    assert {str(leaf.dtype) for leaf in plu_from_matrix(matrix)[1].values()} == {"float32"}


GRADED = np.diag(10.0 ** np.arange(-150, 151, 100)) @ (np.eye(4) + np.triu(np.ones((4, 4)), 1))


def test_scaling_alone_does_not_make_a_matrix_singular() -> None:
    with jax.enable_x64(True):
        for matrix in (GRADED, GRADED.T, 1e-200 * np.eye(3)):
            _, params = plu_from_matrix(matrix)
            np.testing.assert_allclose(
                np.sort(np.abs(params["diagonal"])), np.sort(np.abs(np.diag(matrix))), rtol=1e-12
            )


RANK_4 = np.random.default_rng(0).normal(size=(6, 4)) @ np.random.default_rng(1).normal(size=(4, 6))
HILBERT = 1 / (1.0 + np.add.outer(np.arange(20), np.arange(20)))


@pytest.mark.parametrize("constructor", [plu_from_matrix, conv1x1_from_matrix])
@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (np.zeros((2, 2)), r"singular.*pivots \[0, 1\]"),
        (np.zeros((1, 1)), "singular"),
        (np.array([[1.0, 2.0], [2.0, 4.0]]), r"singular.*pivots \[1\]"),
        (np.arange(9.0).reshape(3, 3), "singular"),
        (np.array([[0.1, 0.3], [0.3, 0.9]]), "singular"),
        (RANK_4, "singular"),
        (1e6 * RANK_4, "singular"),
        (HILBERT, "singular"),
        (np.ones((2, 3)), r"square real matrix, given shape \(2, 3\)"),
        (np.ones(4), r"given shape \(4,\)"),
        (np.ones((0, 0)), r"given shape \(0, 0\)"),
        (np.eye(2, dtype=complex), "dtype complex"),
        (np.array([["a"]]), "dtype <U1"),
        (np.array([[1.0, np.nan], [0.0, 1.0]]), "finite numbers, given 1"),
        (np.array([[1.0, np.inf], [-np.inf, 1.0]]), "finite numbers, given 2"),
    ],
)
def test_matrices_that_are_not_invertible_are_refused(constructor: object, matrix: np.ndarray, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        constructor(matrix)  # type: ignore[operator]


def test_factors_that_the_type_cannot_hold_are_refused() -> None:
    for matrix in (np.diag([1.0, 1e-60]), np.diag([1.0, 1e60])):
        with pytest.raises(ConfigurationError, match="do not fit into float32"), np.errstate(over="ignore"):
            plu_from_matrix(matrix)
        with jax.enable_x64(True):
            plu_from_matrix(matrix)


@pytest.mark.parametrize(
    ("matrix", "order"),
    [([[0.0, 1.0], [1.0, 0.0]], (0, 1)), ([[1e-20, 1.0], [1.0, 1.0]], (0, 1)), ([[1.0, 0.0], [0.0, 1.0]], (1, 0))],
)
def test_a_permutation_that_allows_no_factorisation_is_refused(matrix: list[list[float]], order: tuple[int]) -> None:
    with pytest.raises(ConfigurationError, match="no factorisation with this permutation"):
        plu_from_matrix(np.array(matrix), order)
    plu_from_matrix(np.array(matrix), order[::-1])


@pytest.mark.parametrize("order", [(0, 0), (0,), (0, 1, 2)])
def test_impossible_permutations_are_refused(order: tuple[int, ...]) -> None:
    with pytest.raises(ConfigurationError, match="0, …, 1 as integers in some order"):
        plu_from_matrix(np.eye(2), order)


def test_the_smallest_pivot_that_is_more_than_its_rounding_error_is_accepted() -> None:
    # The last pivot of this matrix is δ, and the terms of its elimination sum to 1 + δ: the bound is 2 ε.
    with jax.enable_x64(True):
        for multiple, accepted in ((1, False), (2, False), (3, True), (4, True)):
            matrix = np.array([[1.0, 1.0], [1.0, 1.0 + multiple * EPS]])
            if accepted:
                np.testing.assert_array_equal(plu_from_matrix(matrix)[1]["diagonal"], [1, multiple * EPS])
            else:
                with pytest.raises(ConfigurationError, match=r"singular.*pivots \[1\]"):
                    plu_from_matrix(matrix)


def test_with_a_permutation_half_of_the_digits_are_enough() -> None:
    # With a first pivot of δ the elimination loses 1/δ of its digits; the bound is 2⁻²⁶ = 1.5e-8 of the greatest entry.
    with jax.enable_x64(True):
        for pivot, accepted in ((3.3e-7, True), (3.3e-8, True), (3.3e-10, False), (3.3e-12, False)):
            matrix = np.array([[pivot, 1.0], [1.0, 0.7]])
            if accepted:
                params = plu_from_matrix(matrix, (0, 1))[1]
                np.testing.assert_allclose(plu_matrix(params), matrix, rtol=0, atol=1.5e-8)
            else:
                with pytest.raises(ConfigurationError, match="no factorisation with this permutation"):
                    plu_from_matrix(matrix, (0, 1))
