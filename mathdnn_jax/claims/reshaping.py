"""The claim that log-determinants do not depend on how tensors are flattened: F6."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.bijectors import Bijector, chain, permutation, reshape
from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.conditional_maps import conditional_case
from mathdnn_jax.claims.evidence import EPS, check_equal, seeds
from mathdnn_jax.claims.linear_maps import conv1x1_case, order_of
from mathdnn_jax.claims.map_evidence import SAFETY, examine
from mathdnn_jax.testing.determinant import log_abs_det

terms = st.tuples(*[st.integers(-2, 2)] * 4)
"""Weights, in halves, of x, of two smooth nonlinear functions and of a mixture of both."""


@functools.cache
def _any_map(shape: tuple[int, int, int]) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """The compiled map (weights, matrices, order, x) → (h(x), its Jacobian, and that of Q h Qᵀ), flattened row by row.

    h(x) = a x + b A tanh(B x) + c (C x)² + d sin(x) ⊙ (B x), which has no structure in common with the library's maps.
    Q h Qᵀ takes a vector in the other order to the tensor, applies h, and returns a vector in that order.
    """

    def h(weights: jax.Array, matrices: jax.Array, x: jax.Array) -> jax.Array:
        flat = x.reshape(-1)
        a, b, c = matrices
        parts = [flat, a @ jnp.tanh(b @ flat), jnp.square(c @ flat), jnp.sin(flat) * (b @ flat)]
        return jnp.tensordot(weights, jnp.stack(parts), 1).reshape(shape)

    def jacobians(weights: jax.Array, matrices: jax.Array, order: jax.Array, x: jax.Array) -> Any:
        def by_rows(flat: jax.Array) -> jax.Array:
            return h(weights, matrices, flat.reshape(shape)).reshape(-1)

        def by_order(vector: jax.Array) -> jax.Array:
            tensor = jnp.zeros_like(vector).at[order].set(vector).reshape(shape)
            return h(weights, matrices, tensor).reshape(-1)[order]

        flat = x.reshape(-1)
        return jax.jacfwd(by_rows)(flat), jax.jacfwd(by_order)(flat[order])

    return jax.jit(jacobians)


@claim(
    "F6.any_map",
    "|det ∂(h(X).reshape)/∂(X.reshape)| is the same for every reshape, for any differentiable h on tensors: "
    "∂(Q h)/∂(Q x) = Q (∂h/∂x) Qᵀ and |det Q| = 1 for every permutation Q of the entries",
    source="course 000, Q4(b); course 003, P4(b)",
    shape=st.sampled_from([(1, 2, 1), (2, 2, 2), (2, 1, 3)]),
    weights=terms,
    seed=seeds,
)
def reshape_invariance_of_any_map(shape: tuple[int, int, int], weights: Sequence[int], seed: int) -> None:
    """Flatten the tensors row by row and in a random order; h is linear, nonlinear or even singular."""
    rng = np.random.default_rng((seed, 4))
    count = int(np.prod(shape))
    order, matrices, x = rng.permutation(count), rng.normal(size=(3, count, count)), rng.normal(size=shape)
    by_rows, by_order = map(np.asarray, _any_map(shape)(np.array(weights) / 2, matrices, order, x))
    q = np.eye(count)[order]
    size = 1 + np.abs(weights).sum() * (1 + np.abs(matrices).max() ** 2 * count**2 * (1 + np.abs(x).max()))
    check_equal("∂(Q h)/∂(Q x) against Q (∂h/∂x) Qᵀ", by_order, q @ by_rows @ q.T, 64 * EPS * size)
    check_equal("|det Q|", abs(np.linalg.det(q)), 1.0, 8 * EPS * count)
    # Relative to Hadamard's bound on the determinant, so that h may also be singular.
    hadamard = np.prod(np.linalg.norm(by_rows, axis=1)) if by_rows.any() else 1.0
    found, expected = (np.linalg.det(part) / max(hadamard, np.finfo(float).tiny) for part in (by_order, by_rows))
    check_equal("determinant over Hadamard's bound", abs(found), abs(expected), 1e3 * EPS * size * count)


@claim(
    "F6.reshape",
    "the log-det that a map on tensors reports is that of the map on vectors, however the vectors are ordered",
    source="course 000, Q4(b); course 003, P4(b)",
    shape=st.sampled_from([(1, 2, 1), (2, 2, 2)]),
    conditional=st.booleans(),
    seed=seeds,
)
def reshape_invariance(shape: tuple[int, int, int], conditional: bool, seed: int) -> None:
    """Put a 1×1 convolution, or the nonlinear conditional PLU coupling, between two reorderings of vectors."""
    case = conditional_case(shape, seed)[0] if conditional else conv1x1_case(shape, seed)
    examined = examine(*case)
    order = order_of(len(examined.z), seed)
    x = np.ravel(np.asarray(case.x))[list(order)]
    _, log_det, jacobian = map(np.asarray, _reordered(case.bijector, case.x.shape, order)(case.params, x))
    check_equal("log-det of the map on vectors", log_det, examined.log_det, examined.bound)
    check_equal("log-det of its Jacobian", log_abs_det(jacobian)[1], examined.log_det, examined.bound)
    size = np.abs(examined.jacobian).max() + examined.z_units.max()
    rows = examined.jacobian[np.ix_(order, order)]
    check_equal("Jacobian of the map on vectors", jacobian, rows, SAFETY * EPS * len(order) * size)


@functools.cache
def _reordered(bijector: Bijector, shape: tuple[int, ...], order: tuple[int, ...]) -> Callable[..., Any]:
    """The map on vectors whose entries are in this order, as (z, the log-det that it reports, its Jacobian)."""
    count = len(order)
    made = chain(
        order=permutation(np.argsort(order)),
        shape=reshape((count,), shape),
        map=bijector,
        flat=reshape(shape, (count,)),
        reorder=permutation(order),
    )

    def both(params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        whole = {name: params if name == "map" else {} for name, _ in made.parts}
        z, log_det = made.forward(whole, x)
        return z, log_det, jax.jacfwd(lambda x: made.forward(whole, x)[0])(x)

    return jax.jit(both)
