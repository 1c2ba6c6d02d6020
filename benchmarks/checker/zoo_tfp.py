"""Bijectors of TensorFlow Probability's JAX substrate (`tfp-nightly`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.checker.entry import LINE, MATRIX, POSITIVE, SYMMETRIC, UNIT, VECTOR, Entry, Make, right
from mathdnn_jax.testing import from_tfp


def _made(make: Callable[[Any], Any]) -> Make:
    """Turn a function of the module of bijectors into the `make` of an entry."""

    def adapt() -> Any:
        from tensorflow_probability.substrates.jax import bijectors

        return from_tfp(make(bijectors), 1)

    return adapt


def _entry(name: str, make: Callable[[Any], Any], latent_support: Any = LINE, **options: Any) -> Entry:
    return right(name, _made(make), latent_support, **options)


def _shaped(name: str) -> Callable[[Any], Any]:
    """Make the distribution function of this name, of two positive parameters."""
    return lambda b: lambda p: getattr(b, name)(jnp.exp(p), jnp.exp(-p))


def _triangle(matrix: jax.Array) -> jax.Array:
    return jnp.tril(matrix, -1) + jnp.diag(jnp.exp(jnp.tanh(jnp.diagonal(matrix))))


def _spline(b: Any) -> Any:
    def make(p: Any) -> Any:
        def sizes(x: jax.Array) -> jax.Array:
            return 6 * (jax.nn.softmax(x) * (1 - 4 * 1e-2) + 1e-2)

        slopes = jax.nn.softplus(p["slopes"]) + 1e-2
        return b.RationalQuadraticSpline(sizes(p["widths"]), sizes(p["heights"]), slopes, range_min=-3)

    return make


def _realnvp(b: Any) -> Any:
    def make(p: Any) -> Any:
        def shift_and_log_scale(x: jax.Array, _: int) -> tuple[jax.Array, jax.Array]:
            return x @ p["shift"], jnp.tanh(x @ p["scale"])

        return b.RealNVP(2, shift_and_log_scale_fn=shift_and_log_scale)

    return make


def _maf(b: Any) -> Any:
    def make(p: Any) -> Any:
        def shift_and_log_scale(x: jax.Array) -> tuple[jax.Array, jax.Array]:
            before = jnp.triu(p, 1)
            return x @ before, jnp.tanh(x @ before / 2)

        return b.MaskedAutoregressiveFlow(shift_and_log_scale)

    return make


def _lu(b: Any) -> Any:
    def make(p: Any) -> Any:
        lower_upper = jnp.tril(p, -1) + jnp.triu(p, 1) + jnp.diag(jnp.exp(jnp.tanh(jnp.diagonal(p))))
        return b.ScaleMatvecLU(lower_upper, jnp.asarray([1, 2, 0]))

    return make


UNTRACEABLE = (
    "not traceable: TypeError under jax.jit (a shape is computed by jnp and then used as one); runs without jit"
)
WEIGHTS = np.asarray([[0.5, -0.25], [0.25, 0.5]], np.float32)
ENTRIES = (
    _entry("Scale", lambda b: lambda p: b.Scale(log_scale=p), params=VECTOR),
    _entry("Scale, of either sign", lambda b: lambda p: b.Scale(p), params=VECTOR),
    _entry("Exp", lambda b: b.Exp(), POSITIVE),
    _entry("Expm1", lambda b: b.Expm1(), (-1.0, np.inf)),
    _entry("Log1p", lambda b: b.Log1p(), LINE, support=(-1.0, np.inf)),
    _entry("Sigmoid", lambda b: b.Sigmoid(), UNIT),
    _entry("Softplus", lambda b: b.Softplus(), POSITIVE),
    _entry("Softsign", lambda b: b.Softsign(), SYMMETRIC),
    _entry("Tanh", lambda b: b.Tanh(), SYMMETRIC),
    _entry("NormalCDF", lambda b: b.NormalCDF(), UNIT, support=(-5, 5)),
    _entry("GumbelCDF", lambda b: lambda p: b.GumbelCDF(p, jnp.exp(p)), UNIT, params=VECTOR, support=(-3, 8)),
    _entry("KumaraswamyCDF", _shaped("KumaraswamyCDF"), UNIT, params=VECTOR / 4, support=UNIT),
    _entry("WeibullCDF", _shaped("WeibullCDF"), UNIT, params=VECTOR / 4, support=POSITIVE),
    _entry("SinhArcsinh", lambda b: lambda p: b.SinhArcsinh(p, jnp.exp(p)), params=VECTOR / 4),
    _entry("Reciprocal", lambda b: b.Reciprocal(), POSITIVE, support=POSITIVE),
    _entry("Square", lambda b: b.Square(), POSITIVE, support=POSITIVE),
    _entry("Power 3", lambda b: b.Power(3.0), POSITIVE, support=POSITIVE),
    _entry("SoftClip", lambda b: b.SoftClip(low=-2.0, high=3.0), (-2.0, 3.0)),
    _entry("Cumsum", lambda b: b.Cumsum()),
    _entry("Ascending", lambda b: b.Ascending(), None),
    _entry("Permute", lambda b: b.Permute(jnp.asarray([2, 0, 1]))),
    _entry("Householder", lambda b: lambda p: b.Householder(p / jnp.linalg.norm(p)), params=VECTOR),
    _entry("ScaleMatvecTriL", lambda b: lambda p: b.ScaleMatvecTriL(_triangle(p)), params=MATRIX),
    _entry("ScaleMatvecLU", _lu, params=MATRIX, known=UNTRACEABLE),
    _entry(
        "RationalQuadraticSpline",
        _spline,
        known=UNTRACEABLE,
        params={name: np.zeros((3, size), np.float32) for name, size in (("widths", 4), ("heights", 4), ("slopes", 3))},
    ),
    _entry("RealNVP", _realnvp, params={"shift": WEIGHTS, "scale": WEIGHTS}, event_shape=(4,)),
    _entry("MaskedAutoregressiveFlow", _maf, params=MATRIX),
    _entry(
        "Chain of Softplus, Shift, Scale",
        lambda b: lambda p: b.Chain([b.Softplus(), b.Shift(p), b.Scale(log_scale=p)]),
        POSITIVE,
        params=VECTOR,
    ),
)
