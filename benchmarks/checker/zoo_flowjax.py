"""Bijections of flowjax. Its `transform` is the forward map here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.checker.entry import LINE, MATRIX, POSITIVE, SYMMETRIC, UNIT, VECTOR, Entry, Make, right
from mathdnn_jax.testing import from_flowjax


def _made(make: Callable[[Any], Any]) -> Make:
    """Turn a function of flowjax's module into the `make` of an entry."""

    def adapt() -> Any:
        from flowjax import bijections

        return from_flowjax(make(bijections))

    return adapt


def _spline(f: Any) -> Any:
    return f.Vmap(f.RationalQuadraticSpline(knots=5, interval=3), axis_size=2)


def _coupling(f: Any) -> Any:
    return f.Coupling(jax.random.key(1), transformer=f.Affine(), untransformed_dim=2, dim=4, nn_width=6, nn_depth=1)


def _conditional_coupling(f: Any) -> Any:
    return f.Coupling(
        jax.random.key(2), transformer=f.Affine(), untransformed_dim=1, dim=3, cond_dim=2, nn_width=6, nn_depth=1
    )


def _autoregressive(f: Any) -> Any:
    return f.MaskedAutoregressive(jax.random.key(3), transformer=f.Affine(), dim=3, nn_width=6, nn_depth=1)


def _spline_coupling(f: Any) -> Any:
    return f.Coupling(
        jax.random.key(4),
        transformer=f.RationalQuadraticSpline(knots=4, interval=4),
        untransformed_dim=1,
        dim=3,
        nn_width=6,
        nn_depth=1,
    )


def _block_autoregressive(f: Any) -> Any:
    return f.BlockAutoregressiveNetwork(jax.random.key(6), dim=3, depth=1, block_dim=4)


def _chain(f: Any) -> Any:
    return f.Chain([f.Affine(jnp.asarray(VECTOR), jnp.exp(jnp.asarray(VECTOR))), f.Flip((3,)), f.Tanh((3,))])


def _without_inverse(make: Make) -> Make:
    return lambda: (make()[0], None)


def _entry(name: str, make: Callable[[Any], Any], latent_support: Any = LINE, **options: Any) -> Entry:
    return right(name, _made(make), latent_support, **options)


ENTRIES = (
    _entry(
        "Affine",
        lambda f: lambda p: f.Affine(p["loc"], jnp.exp(p["log_scale"])),
        params={"loc": VECTOR, "log_scale": VECTOR},
    ),
    _entry("TriangularAffine", lambda f: f.TriangularAffine(jnp.asarray(VECTOR), jnp.asarray(MATRIX))),
    _entry("Exp", lambda f: f.Exp((2,)), POSITIVE, event_shape=(2,)),
    _entry("SoftPlus", lambda f: f.SoftPlus((2,)), POSITIVE, event_shape=(2,)),
    _entry("Sigmoid", lambda f: f.Sigmoid((2,)), UNIT, event_shape=(2,)),
    _entry("Tanh", lambda f: f.Tanh((2,)), SYMMETRIC, event_shape=(2,)),
    _entry(
        "LeakyTanh",
        lambda f: f.LeakyTanh(3.0, (2,)),
        event_shape=(2,),
        known="the inverse's gradients are NaN at z = ±1, where the branch that is not taken, arctanh, has no slope; "
        "its values there are right",
    ),
    _entry("Power", lambda f: f.Power(3.0, (2,)), POSITIVE, event_shape=(2,), support=POSITIVE),
    _entry("Householder", lambda f: lambda p: f.Householder(p), params=VECTOR),
    _entry("DiscreteCosine", lambda f: f.DiscreteCosine((4,)), event_shape=(4,)),
    _entry("RationalQuadraticSpline", _spline, event_shape=(2,)),
    _entry("Coupling, affine", _coupling, event_shape=(4,)),
    _entry("Coupling, conditional", _conditional_coupling, context=np.asarray([0.5, -1.0], np.float32)),
    _entry("Coupling, spline", _spline_coupling),
    _entry("MaskedAutoregressive", _autoregressive),
    _entry("Planar, leaky", lambda f: f.Planar(jax.random.key(5), dim=3, negative_slope=0.1)),
    right("BlockAutoregressiveNetwork", _without_inverse(_made(_block_autoregressive)), None),
    _entry("Chain of Affine, Flip, Tanh", _chain, None),
)
