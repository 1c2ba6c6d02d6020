"""Bijectors of distrax."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.checker.entry import Entry
from mathdnn_jax.testing import from_distrax

LINE = (-np.inf, np.inf)
VECTOR = np.asarray([0.5, -0.25, 0.125], np.float32)
MATRIX = np.asarray([[1.0, 0.25, 0.0], [0.5, 1.5, -0.25], [0.25, 0.0, 0.75]], np.float32)
MASK = np.asarray([True, False, True, False])


def _triangle(matrix: jax.Array) -> jax.Array:
    """A lower triangle whose diagonal has sizes between e⁻² and e², of either sign."""
    diagonal = jnp.diagonal(matrix)
    safe = jnp.where(diagonal < 0, -1.0, 1.0).astype(matrix.dtype) * jnp.exp(2 * jnp.tanh(diagonal))
    return jnp.tril(matrix, -1) + jnp.diag(safe)


def _tanh() -> Any:
    import distrax

    return from_distrax(distrax.Tanh(), 1)


def _sigmoid() -> Any:
    import distrax

    return from_distrax(distrax.Sigmoid(), 1)


def _gumbel() -> Any:
    import distrax

    return from_distrax(distrax.GumbelCDF(), 1)


def _scalar_affine() -> Any:
    import distrax

    return from_distrax(lambda params: distrax.ScalarAffine(params["shift"], log_scale=params["log_scale"]), 1)


def _triangular() -> Any:
    import distrax

    return from_distrax(lambda params: distrax.TriangularLinear(_triangle(params)))


def _lu() -> Any:
    import distrax

    return from_distrax(lambda p: distrax.LowerUpperTriangularAffine(_lu_matrix(p["matrix"]), p["bias"]))


def _lu_matrix(matrix: jax.Array) -> jax.Array:
    return _triangle(matrix) + jnp.triu(matrix, 1)


def _affine() -> Any:
    import distrax

    return from_distrax(lambda params: distrax.UnconstrainedAffine(params["matrix"], params["bias"]))


def _low_rank() -> Any:
    import distrax

    def make(params: Any) -> Any:
        u = jnp.tanh(params["u"])
        return distrax.DiagPlusLowRankLinear(jnp.exp(params["diagonal"]), u, u)

    return from_distrax(make)


def _spline() -> Any:
    import distrax

    return from_distrax(lambda params: distrax.RationalQuadraticSpline(params, -4.0, 4.0), 1)


def _masked_coupling() -> Any:
    import distrax

    def make(params: Any) -> Any:
        def affine(moved: jax.Array) -> Any:
            return distrax.ScalarAffine(moved[..., :4], log_scale=jnp.tanh(moved[..., 4:]))

        return distrax.MaskedCoupling(MASK, lambda x: jnp.tanh(x @ params), affine)

    return from_distrax(make)


def _split_coupling() -> Any:
    import distrax

    def make(params: Any) -> Any:
        def affine(moved: jax.Array) -> Any:
            return distrax.ScalarAffine(moved[..., :2], log_scale=jnp.tanh(moved[..., 2:]))

        return distrax.SplitCoupling(2, 1, lambda x: x @ params, affine, swap=True)

    return from_distrax(make)


def _chain() -> Any:
    import distrax

    def make(params: Any) -> Any:
        parts = [distrax.Tanh(), distrax.ScalarAffine(params["shift"], log_scale=params["log_scale"] / 4)]
        return distrax.Chain([distrax.Inverse(distrax.Sigmoid()), distrax.ScalarAffine(0.5, scale=0.25), *parts])

    return from_distrax(make, 1)


def _weights(*shape: int) -> np.ndarray:
    return np.asarray(np.random.default_rng(0).normal(size=shape) / 2, np.float32)


ENTRIES = (
    Entry("Tanh", _tanh, {"event_shape": (2,), "latent_support": (-1, 1)}),
    Entry(
        "Sigmoid",
        _sigmoid,
        {"event_shape": (2,), "latent_support": (0, 1)},
        known="for x < −9 the value is exp(x), not the sigmoid: off by the factor 1 + exp(x), 1.2e-4 at −9.01, in "
        "float32 and float64 alike; log_det is that of the sigmoid",
    ),
    Entry("Sigmoid, |x| < 8", _sigmoid, {"event_shape": (2,), "support": (-8, 8), "latent_support": (4e-4, 0.9996)}),
    Entry("GumbelCDF", _gumbel, {"event_shape": (2,)}),
    Entry(
        "ScalarAffine",
        _scalar_affine,
        {"event_shape": (3,), "latent_support": LINE, "params": {"shift": VECTOR, "log_scale": VECTOR}},
    ),
    Entry("TriangularLinear", _triangular, {"event_shape": (3,), "latent_support": LINE, "params": MATRIX}),
    Entry(
        "LowerUpperTriangularAffine",
        _lu,
        {"event_shape": (3,), "latent_support": LINE, "params": {"matrix": MATRIX, "bias": VECTOR}},
    ),
    Entry(
        "UnconstrainedAffine",
        _affine,
        {"event_shape": (3,), "latent_support": LINE, "params": {"matrix": MATRIX, "bias": VECTOR}},
    ),
    Entry(
        "DiagPlusLowRankLinear",
        _low_rank,
        {"event_shape": (3,), "latent_support": LINE, "params": {"diagonal": VECTOR, "u": MATRIX[:, :1]}},
    ),
    Entry(
        "RationalQuadraticSpline",
        _spline,
        {"event_shape": (2,), "latent_support": LINE, "params": _weights(2, 13)},
    ),
    Entry("MaskedCoupling", _masked_coupling, {"event_shape": (4,), "latent_support": LINE, "params": _weights(4, 8)}),
    Entry("SplitCoupling", _split_coupling, {"event_shape": (4,), "latent_support": LINE, "params": _weights(2, 4)}),
    Entry(
        "Chain of Sigmoid⁻¹, affine, Tanh, affine",
        _chain,
        {"event_shape": (3,), "params": {"shift": VECTOR, "log_scale": VECTOR}, "support": (-2, 2)},
    ),
)
