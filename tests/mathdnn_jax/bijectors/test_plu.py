"""PLU maps and 1×1 convolutions against the matrix they stand for (F5, F7)."""

from __future__ import annotations

import functools
import re

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from mathdnn_jax import Bijector
from mathdnn_jax.bijectors import Params, conv1x1, plu, plu_matrix
from mathdnn_jax.bijectors.bijector import Map
from mathdnn_jax.errors import ConfigurationError, ParameterStructureError

from ...drawn import drawn
from .programs import primitives

EPS = float(np.finfo(np.float64).eps)
ORDERS = {1: (0,), 2: (1, 0), 3: (2, 0, 1), 6: (3, 0, 4, 5, 2, 1), 7: (6, 5, 1, 0, 2, 4, 3)}

dims = st.sampled_from(sorted(ORDERS))
seeds = st.integers(0, 2**31 - 1)


def wild_params(dim: int, seed: int) -> Params:
    """Triangles of variance 1/dim, s of both signs from 1e-6 to 1e6, and NaN in all entries that must not be read."""
    rng = np.random.default_rng(seed)
    strict = np.tri(dim, k=-1, dtype=bool)
    entries = rng.normal(size=(2, dim, dim)) / np.sqrt(dim)
    s = 10 ** rng.choice([-6.0, 0.0, 6.0], dim) * rng.uniform(0.5, 1.5, dim) * rng.choice([-1, 1], dim)
    return {
        "lower": jnp.asarray(np.where(strict, entries[0], np.nan)),
        "upper": jnp.asarray(np.where(strict.T, entries[1], np.nan)),
        "diagonal": jnp.asarray(s),
    }


def dense(params: Params, order: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(P, L, U + diag s), each as a matrix, straight from the definition."""
    lower, upper, s = (np.asarray(params[name]) for name in ("lower", "upper", "diagonal"))
    dim = len(s)
    p, ell, u = np.zeros((dim, dim)), np.eye(dim), np.diag(s)
    for i in range(dim):
        p[i, order[i]] = 1
        ell[i, :i] = lower[i, :i]
        u[i, i + 1 :] = upper[i, i + 1 :]
    return p, ell, u


matrix_of = jax.jit(plu_matrix, static_argnums=1)


@functools.cache
def compiled(dim: int, kind: str) -> tuple[Bijector, jax.stages.Wrapped, jax.stages.Wrapped]:
    bijector = {"plu": plu, "conv1x1": conv1x1}[kind](dim, ORDERS[dim])
    return bijector, jax.jit(bijector.forward), jax.jit(bijector.inverse)


@pytest.mark.parametrize("vectors", [1, 20])
@given(dim=dims, seed=seeds)
def test_plu_is_its_matrix_for_scales_of_any_size_and_sign(vectors: int, dim: int, seed: int) -> None:
    with jax.enable_x64(True):
        params = wild_params(dim, seed)
        x = np.random.default_rng(seed + 1).normal(size=(vectors, dim))
        p, ell, u = dense(params, ORDERS[dim])
        _, forward, inverse = compiled(dim, "plu")
        z, log_det = forward(params, jnp.asarray(x))
        # The bound of a product of these factors, entry by entry, whatever the condition of A.
        bound = 4 * dim * EPS * (np.abs(x) @ np.abs(p @ np.abs(ell) @ np.abs(u)).T)
        assert (np.abs(z - x @ (p @ ell @ u).T) <= bound).all()
        exact = np.sum(np.log(np.abs(np.asarray(params["diagonal"]))))
        np.testing.assert_allclose(log_det, np.full(vectors, exact), rtol=0, atol=64 * dim * EPS * 14)

        back, inverse_log_det = inverse(params, z)
        np.testing.assert_array_equal(inverse_log_det, -log_det)
        # Triangular solves are backward stable in each factor: |L̂⁻¹| and |Û⁻¹| times the rounded terms.
        inverse_ell, inverse_u = np.abs(np.linalg.inv(ell)), np.abs(np.linalg.inv(u))
        spread = inverse_u @ inverse_ell @ np.abs(ell) @ np.abs(u) @ (inverse_u @ np.abs(u))
        assert (np.abs(back - x) <= 8 * dim * EPS * (np.abs(x) @ spread.T)).all()


@given(dim=dims, seed=seeds)
def test_the_matrix_of_a_plu_is_the_product_of_its_factors(dim: int, seed: int) -> None:
    with jax.enable_x64(True):
        params = wild_params(dim, seed)
        p, ell, u = dense(params, ORDERS[dim])
        bound = 4 * dim * EPS * (p @ np.abs(ell) @ np.abs(u))
        assert (np.abs(matrix_of(params, ORDERS[dim]) - p @ ell @ u) <= bound).all()


@given(seed=seeds, dim=st.sampled_from([1, 3]), shape=st.sampled_from([(1, 1), (1, 4), (3, 2)]))
def test_a_convolution_is_the_matrix_at_every_pixel(seed: int, dim: int, shape: tuple[int, int]) -> None:
    with jax.enable_x64(True):
        params = wild_params(dim, seed)
        x = jnp.asarray(np.random.default_rng(seed + 1).normal(size=(2, *shape, dim)))
        z, log_det = compiled(dim, "conv1x1")[1](params, x)
        pixels, each = compiled(dim, "plu")[1](params, x)
        np.testing.assert_allclose(z, pixels, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(log_det, np.asarray(each).sum((-2, -1)), rtol=0, atol=1e-11)


def test_the_entries_that_are_not_read_have_no_gradient() -> None:
    with jax.enable_x64(True):
        bijector = plu(5, (4, 2, 0, 1, 3))
        params = wild_params(5, 0)
        for function in (bijector.forward, bijector.inverse):

            def loss(params: Params, function: Map = function) -> jax.Array:
                value, log_det = function(params, jnp.arange(1.0, 6.0))
                return jnp.tanh(value).sum() + log_det

            gradient = jax.jit(jax.grad(loss))(params)
            below = np.tri(5, k=-1, dtype=bool)
            for name, read in (("lower", below), ("upper", below.T)):
                assert (np.asarray(gradient[name])[~read] == 0).all()
            assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("dim", [1, 2, 7, 64, 256])
def test_first_parameters_mix_all_entries_and_are_well_conditioned(dim: int) -> None:
    params = jax.jit(plu(dim).init)(jax.random.key(dim))
    a = np.asarray(matrix_of(params, None), np.float64)
    assert np.linalg.cond(a) < 10
    assert (a != 0).all()
    z, log_det = jax.jit(plu(dim).forward)(params, np.ones((3, dim), np.float32))
    assert np.isfinite(z).all()
    np.testing.assert_array_equal(log_det, np.zeros(3))


@pytest.mark.parametrize("batch", [(), (2,), (40,)])
def test_no_program_holds_a_dense_inverse_or_determinant(batch: tuple[int, ...]) -> None:
    for bijector, event_shape in ((plu(4, (1, 0, 3, 2)), (4,)), (conv1x1(4), (3, 2, 4))):
        params = jax.eval_shape(bijector.init, jax.random.key(0))
        x = jax.ShapeDtypeStruct((*batch, *event_shape), np.float32)
        assert not {"lu", "triangular_solve", "custom_linear_solve"} & primitives(bijector.forward, params, x)
        inverse = primitives(bijector.inverse, params, x)
        assert "triangular_solve" in inverse
        assert not {"lu", "custom_linear_solve", "dot_general"} & inverse


def test_a_plu_is_as_exact_as_its_type_also_where_products_are_rounded_by_default() -> None:
    bijector = plu(4)
    params = jax.eval_shape(bijector.init, jax.random.key(0))
    for vectors in (1, 9):
        program = str(jax.make_jaxpr(bijector.forward)(params, jax.ShapeDtypeStruct((vectors, 4), np.float32)))
        assert program.count("dot_general[") == program.count("precision=(Precision.HIGHEST, Precision.HIGHEST)") == 2


@pytest.mark.parametrize("constructor", [plu, conv1x1])
@pytest.mark.parametrize(
    ("order", "words"),
    [
        ((0, 1), r"0, …, 2 as integers.*given \[0, 1\]"),
        ((0, 1, 1), r"given \[0, 1, 1\]"),
        ((1, 2, 3), r"given \[1, 2, 3\]"),
        ((0, 1, -1), r"given \[0, 1, -1\]"),
        (np.array([0.0, 1.0, 2.0]), "of dtype float64"),
        (np.eye(3, dtype=int), "given"),
        (np.arange(17), "an array of shape"),
    ],
)
def test_impossible_permutations_are_refused(constructor: object, order: object, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        constructor(3, order)  # type: ignore[operator]


@pytest.mark.parametrize("constructor", [plu, conv1x1])
def test_no_rows_are_refused(constructor: object) -> None:
    with pytest.raises(ConfigurationError, match="with at least one row, given 0"):
        constructor(0)  # type: ignore[operator]


@pytest.mark.parametrize("name", ["lower", "upper", "diagonal"])
def test_parameters_of_another_shape_are_refused(name: str) -> None:
    params = drawn(plu(3).init) | {name: np.ones((2, 2), np.float32)}
    for function in (plu(3).forward, plu(3).inverse, conv1x1(3).forward, conv1x1(3).inverse):
        with pytest.raises(ParameterStructureError, match=r"'diagonal': \(3,\)"):
            jax.eval_shape(function, params, np.zeros((1, 1, 3), np.float32))
    with pytest.raises(ParameterStructureError, match="expects parameters of shapes"):
        jax.eval_shape(plu_matrix, params)


def test_in_half_precision_the_inverse_solves_in_float32() -> None:
    bijector = plu(3)
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), drawn(bijector.init))
    traced = str(jax.make_jaxpr(bijector.inverse)(params, jnp.ones((2, 3), jnp.bfloat16)))
    assert re.findall(r"\w+:(\w+)\[\d+,\d+\] = triangular_solve", traced) == ["f32", "f32"]
    z, _ = bijector.inverse(params, jnp.ones((2, 3), jnp.bfloat16))
    assert z.dtype == jnp.bfloat16
