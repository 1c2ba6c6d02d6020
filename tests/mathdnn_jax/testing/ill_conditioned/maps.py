"""Right maps of every kind, with conditions from 10⁸ to 10¹⁸."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax import chain
from mathdnn_jax.bijectors import plu, scaling

from .elementwise import elementwise, kumaraswamy
from .other_maps import exponential, iterative, near, rotated, symmetric, torch_map
from .pieces import (
    LINE,
    Functions,
    Holder,
    Map,
    Result,
    by_hand,
    by_inv,
    by_solve,
    by_substitution,
    closed_over,
    composed,
    condition,
    dense,
    linear,
    log_abs_det,
    log_diagonal,
    of_params,
    orthogonal,
    size_of,
    spread,
    times,
    triangle,
)

Rng = np.random.Generator


def plu_map(rng: Rng) -> Map:
    size = size_of(rng)
    bijector = plu(size, tuple(map(int, rng.permutation(size))))
    return of_params((bijector.forward, bijector.inverse), plu_params(rng, size, np.log10(condition(rng)) / 2), size)


def plu_params(rng: Rng, size: int, span: float) -> dict[str, np.ndarray]:
    lower, upper = rng.normal(size=(2, size, size))
    diagonal = rng.choice([-1.0, 1.0], size) * 10.0 ** rng.uniform(-span, span, size)
    return {"lower": lower, "upper": upper, "diagonal": np.asarray(diagonal)}


def chain_map(rng: Rng) -> Map:
    """A chain of the library's maps."""
    size, span = 4, np.log10(condition(rng)) / 4
    bijector = chain(one=plu(size), scale=scaling(size), two=plu(size, (2, 0, 3, 1)))
    params = {
        "one": plu_params(rng, size, span),
        "scale": {"log_scale": rng.uniform(-8, 8, size)},
        "two": plu_params(rng, size, span),
    }
    return of_params((bijector.forward, bijector.inverse), params, size)


def triangular(rng: Rng, holder: Holder) -> Map:
    size, solve = size_of(rng), (by_substitution, by_hand)[rng.integers(2)]
    return holder(linear(jnp.tril, log_diagonal, solve), triangle(rng, size), size)


def dense_map(rng: Rng, holder: Holder) -> Map:
    size, solve = size_of(rng), (by_solve, by_inv)[rng.integers(2)]
    return holder(linear(lambda a: a, log_abs_det, solve), dense(rng, size), size)


def factored(rng: Rng, holder: Holder) -> Map:
    """A = L U is multiplied out, and its determinant is computed from the factors."""
    size = size_of(rng)

    def matrix(p: Any) -> jax.Array:
        return jnp.matmul(jnp.tril(p["lower"]), jnp.triu(p["upper"]), precision=jax.lax.Precision.HIGHEST)

    def log_det(p: Any) -> jax.Array:
        return log_diagonal(p["lower"]) + log_diagonal(p["upper"])

    def forward(p: Any, x: jax.Array) -> Result:
        return times(matrix(p), x), spread(x, log_det(p))

    def inverse(p: Any, z: jax.Array) -> Result:
        return by_solve(matrix(p), z), spread(z, -log_det(p))

    params = {"lower": triangle(rng, size), "upper": rng.normal(size=(size, size)) + 2 * np.eye(size)}
    return holder((forward, inverse), params, size)


def precomputed(rng: Rng) -> Map:
    """The inverse and the log-determinant are computed beforehand by NumPy."""
    size = size_of(rng)
    a = dense(rng, size)
    # NumPy refuses a matrix whose last pivot is rounded to zero.
    while np.linalg.slogdet(a)[0] == 0:
        a = dense(rng, size)
    back, log_det = np.linalg.inv(a), np.linalg.slogdet(a)[1]
    return Map(
        lambda x: (times(jnp.asarray(a, x.dtype), x), spread(x, log_det)),
        lambda z: (times(jnp.asarray(back, z.dtype), z), spread(z, -log_det)),
        {"event_shape": (size,), "latent_support": LINE},
    )


def diagonal(rng: Rng, holder: Holder) -> Map:
    size = size_of(rng)
    scale = 10.0 ** rng.uniform(-9, 9, size) * rng.choice([-1.0, 1.0], size)

    def forward(s: jax.Array, x: jax.Array) -> Result:
        return x * s, spread(x, jnp.log(jnp.abs(s)).sum())

    def inverse(s: jax.Array, z: jax.Array) -> Result:
        return z / s, spread(z, -jnp.log(jnp.abs(s)).sum())

    return holder((forward, inverse), scale, size)


def _coupling() -> Functions:
    """An affine coupling with bounded log-scales. The bound (`reach`) is a parameter too."""

    def parts(p: Any, kept: jax.Array) -> tuple[jax.Array, jax.Array]:
        return p["reach"] * jnp.tanh(kept @ p["scale"] + 1), kept @ p["shift"]

    def forward(p: Any, x: jax.Array) -> Result:
        s, t = parts(p, x[..., :2])
        return jnp.concatenate([x[..., :2], x[..., 2:] * jnp.exp(s) + t], -1), s.sum(-1)

    def inverse(p: Any, z: jax.Array) -> Result:
        s, t = parts(p, z[..., :2])
        return jnp.concatenate([z[..., :2], (z[..., 2:] - t) * jnp.exp(-s)], -1), -s.sum(-1)

    return forward, inverse


def _coupling_params(rng: Rng, reach: float) -> Any:
    return {"scale": rng.normal(size=(2, 2)), "shift": rng.normal(size=(2, 2)), "reach": np.asarray(reach)}


def coupling(rng: Rng, holder: Holder) -> Map:
    reach = np.log(condition(rng)) / 2 * rng.choice([-1.0, 1.0])
    return holder(_coupling(), _coupling_params(rng, reach), 4)


def coupled_and_back(rng: Rng, holder: Holder) -> Map:
    """A coupling, then the inverse of a similar coupling."""
    params = _coupling_params(rng, np.log(condition(rng)) / 2 * rng.choice([-1.0, 1.0]))
    near = jax.tree.map(lambda leaf: leaf * (1 + 10.0 ** rng.uniform(-8, -1) * rng.normal(size=leaf.shape)), params)
    forward, inverse = _coupling()
    return holder(composed((forward, inverse), (inverse, forward)), (params, near), 4)


def there_and_back(rng: Rng, holder: Holder) -> Map:
    """A, then a matrix close to A⁻¹. The composition is well-conditioned and hides all rounding."""
    size = size_of(rng)
    a, moved = np.linalg.svd(dense(rng, size)), 10.0 ** rng.uniform(-3, -1)
    left, values, right = a.U, np.maximum(a.S, a.S[0] * 1e-14), a.Vh
    near = right.T @ (np.eye(size) + moved * rng.normal(size=(size, size))) / values @ left.T
    one = linear(lambda p: p, log_abs_det, by_solve)
    return holder(composed(one, one), (left * values @ right, near), size)


def mixed(rng: Rng, holder: Holder) -> Map:
    """A rotation, a coupling, a triangle and a rotation."""
    turn = linear(lambda a: a, log_abs_det, by_solve)
    parts = composed(composed(turn, _coupling()), composed(linear(jnp.tril, log_diagonal, by_substitution), turn))
    reach = np.log(condition(rng)) / 4
    params = ((orthogonal(rng, 4), _coupling_params(rng, reach)), (triangle(rng, 4), orthogonal(rng, 4)))
    return holder(parts, params, 4)


HELD: dict[str, Callable[..., Map]] = {
    "triangular": triangular,
    "dense": dense_map,
    "factored": factored,
    "diagonal": diagonal,
    "coupling": coupling,
    "coupled and back": coupled_and_back,
    "there and back": there_and_back,
    "mixed": mixed,
    "near": near,
    "iterative": iterative,
    "rotated": rotated,
    "exponential": exponential,
    "symmetric": symmetric,
}

RIGHT: dict[str, Callable[[Rng], Map]] = {
    "plu of the library": plu_map,
    "chain of the library": chain_map,
    "precomputed": precomputed,
    "elementwise": elementwise,
    "elementwise, deep": lambda rng: elementwise(rng, 100.0),
    "Kumaraswamy": kumaraswamy,
    "PyTorch's": torch_map,
    "PyTorch's, there and back": lambda rng: torch_map(rng, back=True),
    **{f"{name}, parameters": functools.partial(make, holder=of_params) for name, make in HELD.items()},
    **{f"{name}, constants": functools.partial(make, holder=closed_over) for name, make in HELD.items()},
}
