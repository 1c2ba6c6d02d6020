"""Other ill-conditioned right maps: inverses that iterate, rotations by QR, matrix exponentials, PyTorch's matrices."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.testing import from_torch

from .pieces import (
    LINE,
    Functions,
    Holder,
    Map,
    Result,
    by_solve,
    composed,
    condition,
    dense,
    linear,
    log_abs_det,
    size_of,
    spread,
    times,
)

Rng = np.random.Generator


def _root(slopes: jax.Array, z: jax.Array) -> jax.Array:
    """Solve s x + x³ = z for x by bisection, with the derivative of the implicit function."""

    @jax.custom_jvp
    def root(slopes: jax.Array, z: jax.Array) -> jax.Array:
        def halve(_: int, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            middle = (ends[0] + ends[1]) / 2
            beyond = slopes * middle + middle**3 > z
            return jnp.where(beyond, ends[0], middle), jnp.where(beyond, middle, ends[1])

        reach = 2 * (1 + jnp.cbrt(jnp.abs(z)))
        ends: tuple[jax.Array, jax.Array] = jax.lax.fori_loop(0, 64, halve, (-reach, reach))
        return (ends[0] + ends[1]) / 2

    @root.defjvp
    def derivative(primals: Any, tangents: Any) -> Any:
        x = root(*primals)
        return x, (tangents[1] - x * tangents[0]) / (primals[0] + 3 * x**2)

    x: jax.Array = root(slopes, z)
    return x


def iterative(rng: Rng, holder: Holder) -> Map:
    """A cumulative sum, then cubics whose slopes at zero span the condition. The inverse uses bisection."""
    size = size_of(rng)

    def forward(slopes: jax.Array, x: jax.Array) -> Result:
        y = jnp.cumsum(x, -1)
        return slopes * y + y**3, jnp.log(slopes + 3 * y**2).sum(-1)

    def inverse(slopes: jax.Array, z: jax.Array) -> Result:
        y = _root(jnp.broadcast_to(slopes, z.shape), z)
        x = jnp.concatenate([y[..., :1], jnp.diff(y)], -1)
        return x, -jnp.log(slopes + 3 * y**2).sum(-1)

    return holder((forward, inverse), np.geomspace(1 / condition(rng), 1, size) * 10.0 ** rng.uniform(0, 6), size)


def rotated(rng: Rng, holder: Holder) -> Map:
    """Q diag(s) Q′, where the rotations are made of the parameters by QR."""
    size = size_of(rng)

    def functions() -> Functions:
        def forward(p: Any, x: jax.Array) -> Result:
            left, right = jnp.linalg.qr(p[0])[0], jnp.linalg.qr(p[2])[0]
            return times(left, p[1] * times(right, x)), spread(x, jnp.log(p[1]).sum())

        def inverse(p: Any, z: jax.Array) -> Result:
            left, right = jnp.linalg.qr(p[0])[0], jnp.linalg.qr(p[2])[0]
            return times(right.T, times(left.T, z) / p[1]), spread(z, -jnp.log(p[1]).sum())

        return forward, inverse

    left, right = rng.normal(size=(2, size, size))
    return holder(functions(), (left, np.geomspace(1 / condition(rng), 1, size), right), size)


def exponential(rng: Rng, holder: Holder) -> Map:
    """exp(A) x, whose log-determinant is the trace of A."""
    size = 3
    span = np.log(condition(rng)) / 2
    a = rng.normal(size=(size, size))
    a = a - a.T + np.diag(rng.permutation(np.linspace(-span, span, size) + 0.7))

    def forward(p: jax.Array, x: jax.Array) -> Result:
        return times(jax.scipy.linalg.expm(p), x), spread(x, jnp.trace(p))

    def inverse(p: jax.Array, z: jax.Array) -> Result:
        return times(jax.scipy.linalg.expm(-p), z), spread(z, -jnp.trace(p))

    return holder((forward, inverse), a, size)


def symmetric(rng: Rng, holder: Holder) -> Map:
    """A positive definite matrix whose determinant is computed from its Cholesky factor."""
    size = size_of(rng)
    a = rng.normal(size=(size, size)) * np.geomspace(1 / np.sqrt(condition(rng)), 1, size)

    def log_det(a: jax.Array) -> jax.Array:
        return 2 * jnp.log(jnp.diagonal(jnp.linalg.cholesky(a))).sum()

    def matrix(p: jax.Array) -> jax.Array:
        return times(p, p) + jnp.asarray(2.0**-60, p.dtype) * jnp.eye(size, dtype=p.dtype)

    return holder(linear(matrix, log_det, by_solve), a, size)


def torch_map(rng: Rng, *, back: bool = False) -> Map:
    """A matrix in PyTorch, perhaps followed by one close to its inverse, with slogdet and solve."""
    import torch

    size = size_of(rng)
    a = dense(rng, size)
    parts = [a]
    if back:
        inverse = np.linalg.pinv(a, 1e-14)
        parts.append(inverse + 1e-3 * np.abs(inverse).max() * rng.normal(size=a.shape))

    class Matrices(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for k, part in enumerate(parts):
                self.register_buffer(f"a{k}", torch.tensor(part))

        def _log_det(self, x: Any) -> Any:
            return sum(torch.linalg.slogdet(part)[1] for part in self.buffers()).expand(len(x))

        def forward(self, x: Any) -> Any:
            log_det = self._log_det(x)
            for part in self.buffers():
                x = x @ part.T
            return x, log_det

        def inverse(self, z: Any) -> Any:
            log_det = self._log_det(z)
            for part in reversed(list(self.buffers())):
                z = torch.linalg.lu_solve(*torch.linalg.lu_factor_ex(part)[:2], z.T).T
            return z, -log_det

    return Map(*from_torch(Matrices()), {"event_shape": (size,), "latent_support": LINE})


def near(rng: Rng, holder: Holder) -> Map:
    """A, then a solve with a matrix close to A."""
    size = size_of(rng)
    a = dense(rng, size)
    one = linear(lambda p: p, log_abs_det, by_solve)
    moved = a * (1 + 10.0 ** rng.uniform(-6, -1) * rng.normal(size=a.shape))
    return holder(composed(one, (one[1], one[0])), (a, moved), size)
