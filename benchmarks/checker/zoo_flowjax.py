"""Bijections of flowjax. Its `transform` is the forward map here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.checker.entry import Entry
from mathdnn_jax.testing import from_flowjax

LINE = (-np.inf, np.inf)
VECTOR = np.asarray([0.5, -0.25, 0.125], np.float32)
MATRIX = np.asarray([[1.0, 0.25, 0.0], [0.5, 1.5, -0.25], [0.25, 0.0, 0.75]], np.float32)


def _made(make: Callable[[Any], Any]) -> Callable[[], Any]:
    """An entry's `make` from a function of flowjax's module."""

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


def _chain(f: Any) -> Any:
    return f.Chain([f.Affine(jnp.asarray(VECTOR), jnp.exp(jnp.asarray(VECTOR))), f.Flip((3,)), f.Tanh((3,))])


ENTRIES = (
    Entry(
        "Affine",
        _made(lambda f: lambda p: f.Affine(p["loc"], jnp.exp(p["log_scale"]))),
        {"event_shape": (3,), "latent_support": LINE, "params": {"loc": VECTOR, "log_scale": VECTOR}},
    ),
    Entry(
        "TriangularAffine",
        _made(lambda f: f.TriangularAffine(jnp.asarray(VECTOR), jnp.asarray(MATRIX))),
        {"event_shape": (3,), "latent_support": LINE},
    ),
    Entry("Exp", _made(lambda f: f.Exp((2,))), {"event_shape": (2,), "latent_support": (0, np.inf)}),
    Entry("SoftPlus", _made(lambda f: f.SoftPlus((2,))), {"event_shape": (2,), "latent_support": (0, np.inf)}),
    Entry("Sigmoid", _made(lambda f: f.Sigmoid((2,))), {"event_shape": (2,), "latent_support": (0, 1)}),
    Entry("Tanh", _made(lambda f: f.Tanh((2,))), {"event_shape": (2,), "latent_support": (-1, 1)}),
    Entry("LeakyTanh", _made(lambda f: f.LeakyTanh(3.0, (2,))), {"event_shape": (2,), "latent_support": LINE}),
    Entry(
        "Power",
        _made(lambda f: f.Power(3.0, (2,))),
        {"event_shape": (2,), "support": (0, np.inf), "latent_support": (0, np.inf)},
    ),
    Entry(
        "Householder",
        _made(lambda f: lambda p: f.Householder(p)),
        {"event_shape": (3,), "latent_support": LINE, "params": VECTOR},
    ),
    Entry("DiscreteCosine", _made(lambda f: f.DiscreteCosine((4,))), {"event_shape": (4,), "latent_support": LINE}),
    Entry("RationalQuadraticSpline", _made(_spline), {"event_shape": (2,), "latent_support": LINE}),
    Entry("Coupling, affine", _made(_coupling), {"event_shape": (4,), "latent_support": LINE}),
    Entry(
        "Coupling, conditional",
        _made(_conditional_coupling),
        {"event_shape": (3,), "latent_support": LINE, "context": np.asarray([0.5, -1.0], np.float32)},
    ),
    Entry("Coupling, spline", _made(_spline_coupling), {"event_shape": (3,), "latent_support": LINE}),
    Entry("MaskedAutoregressive", _made(_autoregressive), {"event_shape": (3,), "latent_support": LINE}),
    Entry(
        "Planar, leaky",
        _made(lambda f: f.Planar(jax.random.key(5), dim=3, negative_slope=0.1)),
        {"event_shape": (3,), "latent_support": LINE},
    ),
    Entry(
        "BlockAutoregressiveNetwork",
        lambda: (
            _made(lambda f: f.BlockAutoregressiveNetwork(jax.random.key(6), dim=3, depth=1, block_dim=4))()[0],
            None,
        ),
        {"event_shape": (3,)},
    ),
    Entry("Chain of Affine, Flip, Tanh", _made(_chain), {"event_shape": (3,)}),
)
