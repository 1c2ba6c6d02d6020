"""The pieces of ill-conditioned maps: matrices of random condition, and linear maps with parameters or constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular

from mathdnn_jax.testing import check_bijector

Result = tuple[jax.Array, jax.Array]
Functions = tuple[Callable[..., Result], Callable[..., Result]]
"""The forward and inverse functions of (parameters, event)."""

LINE = (-np.inf, np.inf)


class Map(NamedTuple):
    """A map, and the options of `check_bijector` that belong to it."""

    forward: Callable[..., Result]
    inverse: Callable[..., Result] | None
    options: dict[str, Any]

    def check(self, **options: Any) -> None:
        check_bijector(self.forward, self.inverse, **{**self.options, **options})


Holder = Callable[[Functions, Any, int], Map]


def of_params(functions: Functions, params: Any, size: int) -> Map:
    """Return a map with these parameters, which the checker rounds to float32."""
    return Map(*functions, {"event_shape": (size,), "params": st.just(params), "latent_support": LINE})


def closed_over(functions: Functions, params: Any, size: int) -> Map:
    """Return a map with the parameters as constants of the program, in the dtype of the event."""
    constants = jax.tree.map(np.asarray, params)

    def at(x: jax.Array) -> Any:
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, x.dtype), constants)

    forward, inverse = functions
    options = {"event_shape": (size,), "latent_support": LINE}
    return Map(lambda x: forward(at(x), x), lambda z: inverse(at(z), z), options)


def condition(rng: np.random.Generator) -> float:
    return float(10.0 ** rng.uniform(8, 18))


def size_of(rng: np.random.Generator) -> int:
    return int(rng.integers(2, 6))


def singular_values(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw singular values: all but one small, only one small, or evenly spread in the logarithm."""
    least = 1 / condition(rng)
    kinds = (np.r_[1.0, np.full(size - 1, least)], np.r_[np.ones(size - 1), least], np.geomspace(1, least, size))
    return np.asarray(kinds[rng.integers(3)] * 10.0 ** rng.uniform(-2, 2))


def orthogonal(rng: np.random.Generator, size: int) -> np.ndarray:
    return np.asarray(np.linalg.qr(rng.normal(size=(size, size)))[0])


def dense(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw a matrix with such singular values, with stretched rows and columns, or a stretched Vandermonde matrix."""
    kind = rng.integers(4)
    if kind == 0:
        span = np.log10(condition(rng)) / 4
        rows, columns = 10.0 ** rng.uniform(-span, span, (2, size))
        return np.asarray(rng.normal(size=(size, size)) * rows[:, None] * columns)
    if kind == 1:
        nodes = 1 + 10.0 ** rng.uniform(-3, -1) * np.arange(size) / size
        return np.asarray(np.vander(nodes) * 10.0 ** rng.uniform(-3, 3, size))
    return np.asarray(orthogonal(rng, size) * singular_values(rng, size) @ orthogonal(rng, size))


def triangle(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw a lower triangular matrix of moderate entries, whose diagonal spans the condition."""
    diagonal = singular_values(rng, size) * rng.choice([-1.0, 1.0], size)
    return np.asarray(np.tril(rng.normal(size=(size, size)), -1) + np.diag(rng.permutation(diagonal)))


def spread(x: jax.Array, log_det: Any) -> jax.Array:
    return jnp.broadcast_to(jnp.asarray(log_det, x.dtype), x.shape[:-1])


def times(a: jax.Array, x: jax.Array) -> jax.Array:
    return jnp.einsum("ij,...j->...i", a, x, precision=jax.lax.Precision.HIGHEST)


def linear(
    matrix: Callable[[Any], jax.Array], log_det: Callable[[jax.Array], Any], solve: Callable[..., jax.Array]
) -> Functions:
    """x ↦ A x, where A = matrix(params)."""

    def forward(params: Any, x: jax.Array) -> Result:
        a = matrix(params)
        return times(a, x), spread(x, log_det(a))

    def inverse(params: Any, z: jax.Array) -> Result:
        a = matrix(params)
        return solve(a, z), spread(z, -log_det(a))

    return forward, inverse


def log_abs_det(a: jax.Array) -> jax.Array:
    log_det: jax.Array = jnp.linalg.slogdet(a)[1]
    return log_det


def log_diagonal(a: jax.Array) -> jax.Array:
    return jnp.log(jnp.abs(jnp.diagonal(a))).sum()


def by_solve(a: jax.Array, z: jax.Array) -> jax.Array:
    x: jax.Array = jnp.linalg.solve(a, z[..., None])[..., 0]
    return x


def by_inv(a: jax.Array, z: jax.Array) -> jax.Array:
    return times(jnp.linalg.inv(a), z)


def by_substitution(a: jax.Array, z: jax.Array) -> jax.Array:
    return solve_triangular(a, z.reshape(-1, z.shape[-1]).T, lower=True).T.reshape(z.shape)


def by_hand(a: jax.Array, z: jax.Array) -> jax.Array:
    """Solve by substitution, entry by entry."""
    x: list[jax.Array] = []
    for i in range(z.shape[-1]):
        rest = z[..., i]
        for j in range(i):
            rest = rest - a[i, j] * x[j]
        x.append(rest / a[i, i])
    return jnp.stack(x, -1)


def composed(first: Functions, second: Functions) -> Functions:
    """The first map, then the second, with the parameters of both."""

    def forward(params: Any, x: jax.Array) -> Result:
        y, one = first[0](params[0], x)
        z, two = second[0](params[1], y)
        return z, one + two

    def inverse(params: Any, z: jax.Array) -> Result:
        y, two = second[1](params[1], z)
        x, one = first[1](params[0], y)
        return x, one + two

    return forward, inverse
