"""Bijectors of distrax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.checker.entry import LINE, MATRIX, SYMMETRIC, UNIT, VECTOR, Entry, Make, right
from mathdnn_jax.testing import from_distrax

MASK = np.asarray([True, False, True, False])


def _made(make: Callable[[Any], Any], event_ndims: int | None) -> Make:
    """Turn a function of distrax's module into the `make` of an entry."""

    def adapt() -> Any:
        import distrax

        return from_distrax(make(distrax), event_ndims)

    return adapt


def _scalar(name: str, make: Callable[[Any], Any], latent_support: Any = LINE, **options: Any) -> Entry:
    """Return the entry of a bijector of scalars, applied to each entry of an event."""
    return right(name, _made(make, 1), latent_support, **options)


def _vector(name: str, make: Callable[[Any], Any], latent_support: Any = LINE, **options: Any) -> Entry:
    """Return the entry of a bijector of vectors."""
    return right(name, _made(make, None), latent_support, **options)


def _triangle(matrix: jax.Array) -> jax.Array:
    """Return a lower triangle whose diagonal entries have sizes between e⁻² and e², and either sign."""
    diagonal = jnp.diagonal(matrix)
    safe = jnp.where(diagonal < 0, -1.0, 1.0).astype(matrix.dtype) * jnp.exp(2 * jnp.tanh(diagonal))
    return jnp.tril(matrix, -1) + jnp.diag(safe)


def _lu_matrix(matrix: jax.Array) -> jax.Array:
    return _triangle(matrix) + jnp.triu(matrix, 1)


def _low_rank(d: Any) -> Any:
    def make(params: Any) -> Any:
        u = jnp.tanh(params["u"])
        return d.DiagPlusLowRankLinear(jnp.exp(params["diagonal"]), u, u)

    return make


def _affine(d: Any, size: int) -> Callable[[jax.Array], Any]:
    """Return a function of the conditioner's outputs: the affine map of `size` entries."""
    return lambda moved: d.ScalarAffine(moved[..., :size], log_scale=jnp.tanh(moved[..., size:]))


def _masked_coupling(d: Any) -> Any:
    return lambda params: d.MaskedCoupling(MASK, lambda x: jnp.tanh(x @ params), _affine(d, 4))


def _split_coupling(d: Any) -> Any:
    return lambda params: d.SplitCoupling(2, 1, lambda x: x @ params, _affine(d, 2), swap=True)


def _chain(d: Any) -> Any:
    def make(params: Any) -> Any:
        parts = [d.Tanh(), d.ScalarAffine(params["shift"], log_scale=params["log_scale"] / 4)]
        return d.Chain([d.Inverse(d.Sigmoid()), d.ScalarAffine(0.5, scale=0.25), *parts])

    return make


def _weights(*shape: int) -> np.ndarray:
    return np.asarray(np.random.default_rng(0).normal(size=shape) / 2, np.float32)


ENTRIES = (
    _scalar("Tanh", lambda d: d.Tanh(), SYMMETRIC, event_shape=(2,)),
    _scalar(
        "Sigmoid",
        lambda d: d.Sigmoid(),
        UNIT,
        event_shape=(2,),
        known="for x < −9 the value is exp(x), not the sigmoid: off by the factor 1 + exp(x), 1.2e-4 at −9.01, in "
        "float32 and float64 alike; log_det is that of the sigmoid",
    ),
    _scalar("Sigmoid, |x| < 8", lambda d: d.Sigmoid(), (4e-4, 0.9996), event_shape=(2,), support=(-8, 8)),
    _scalar("GumbelCDF", lambda d: d.GumbelCDF(), None, event_shape=(2,)),
    _scalar(
        "ScalarAffine",
        lambda d: lambda p: d.ScalarAffine(p["shift"], log_scale=p["log_scale"]),
        params={"shift": VECTOR, "log_scale": VECTOR},
    ),
    _vector("TriangularLinear", lambda d: lambda p: d.TriangularLinear(_triangle(p)), params=MATRIX),
    _vector(
        "LowerUpperTriangularAffine",
        lambda d: lambda p: d.LowerUpperTriangularAffine(_lu_matrix(p["matrix"]), p["bias"]),
        params={"matrix": MATRIX, "bias": VECTOR},
    ),
    _vector(
        "UnconstrainedAffine",
        lambda d: lambda p: d.UnconstrainedAffine(p["matrix"], p["bias"]),
        params={"matrix": MATRIX, "bias": VECTOR},
    ),
    _vector("DiagPlusLowRankLinear", _low_rank, params={"diagonal": VECTOR, "u": MATRIX[:, :1]}),
    _scalar(
        "RationalQuadraticSpline",
        lambda d: lambda p: d.RationalQuadraticSpline(p, -4.0, 4.0),
        event_shape=(2,),
        params=_weights(2, 13),
    ),
    _vector("MaskedCoupling", _masked_coupling, event_shape=(4,), params=_weights(4, 8)),
    _vector("SplitCoupling", _split_coupling, event_shape=(4,), params=_weights(2, 4)),
    _scalar(
        "Chain of Sigmoid⁻¹, affine, Tanh, affine",
        _chain,
        None,
        params={"shift": VECTOR, "log_scale": VECTOR},
        support=(-2, 2),
    ),
)
