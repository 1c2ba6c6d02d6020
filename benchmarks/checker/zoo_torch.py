"""Transforms of torch.distributions and of zuko."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.checker.entry import Entry
from mathdnn_jax.testing import from_torch

LINE = (-np.inf, np.inf)
UNIT, POSITIVE = (0.0, 1.0), (0.0, np.inf)


def _transform(make: Callable[[Any, Any], Any], event_ndims: int = 1) -> Callable[[], Any]:
    """An entry's `make` from a function (torch, dtype) → transform."""

    def adapt() -> Any:
        import torch

        return from_torch(lambda dtype: make(torch, dtype), event_ndims)

    return adapt


def _zuko(make: Callable[[Any, Any, Any], Any]) -> Callable[[], Any]:
    """An entry's `make` from a function (zuko's transforms, torch, dtype) → transform."""

    def adapt() -> Any:
        import zuko

        return _transform(lambda torch, dtype: make(zuko.transforms, torch, dtype))()

    return adapt


def _flow(make: Callable[[Any], Any]) -> Callable[[], Any]:
    """An entry's `make` from a function of zuko that builds a flow with random weights."""

    def adapt() -> Any:
        import torch
        import zuko

        with torch.random.fork_rng():
            torch.manual_seed(0)
            state = make(zuko).state_dict()

        def transform(dtype: Any) -> Any:
            flow = make(zuko)
            flow.load_state_dict(state)
            return flow.to(dtype).transform()

        return from_torch(transform, 1)

    return adapt


def _values(torch: Any, dtype: Any, *shape: int) -> Any:
    return torch.tensor(np.random.default_rng(1).normal(size=shape).astype(np.float32), dtype=dtype)


def _entry(name: str, make: Callable[[], Any], latent_support: Any = LINE, **options: Any) -> Entry:
    return Entry(name, make, {"event_shape": (3,), "latent_support": latent_support, **options})


def _affine(torch: Any, dtype: Any) -> Any:
    scale = torch.tensor([-0.5, 2.0, 0.25], dtype=dtype)
    return torch.distributions.AffineTransform(_values(torch, dtype, 3), scale)


def _compose(torch: Any, dtype: Any) -> Any:
    d = torch.distributions
    return d.ComposeTransform(
        [d.AffineTransform(torch.tensor(0.5, dtype=dtype), torch.tensor(0.25, dtype=dtype)), d.TanhTransform()]
    )


TORCH = (
    _entry("AffineTransform", _transform(_affine)),
    _entry("ExpTransform", _transform(lambda t, _: t.distributions.ExpTransform()), POSITIVE),
    _entry("SigmoidTransform", _transform(lambda t, _: t.distributions.SigmoidTransform()), UNIT),
    _entry("TanhTransform", _transform(lambda t, _: t.distributions.TanhTransform()), (-1.0, 1.0)),
    _entry("SoftplusTransform", _transform(lambda t, _: t.distributions.SoftplusTransform()), POSITIVE),
    _entry(
        "PowerTransform",
        _transform(lambda t, dtype: t.distributions.PowerTransform(t.tensor(3.0, dtype=dtype))),
        POSITIVE,
        support=POSITIVE,
    ),
    _entry("ComposeTransform of affine, tanh", _transform(_compose), (-1.0, 1.0)),
)
ZUKO = (
    _entry("SoftclipTransform", _zuko(lambda z, _, __: z.SoftclipTransform(5.0)), (-5.0, 5.0)),
    _entry(
        "SignedPowerTransform",
        _zuko(lambda z, t, d: z.SignedPowerTransform(_values(t, d, 3) / 4)),
        support=POSITIVE,
        latent_support=POSITIVE,
    ),
    _entry(
        "MonotonicAffineTransform",
        _zuko(lambda z, t, d: z.MonotonicAffineTransform(_values(t, d, 3), _values(t, d, 3))),
    ),
    _entry(
        "MonotonicRQSTransform",
        _zuko(lambda z, t, d: z.MonotonicRQSTransform(_values(t, d, 3, 4), _values(t, d, 3, 4), _values(t, d, 3, 3))),
    ),
    _entry("RotationTransform", _zuko(lambda z, t, d: z.RotationTransform(_values(t, d, 3, 3)))),
    _entry("LULinearTransform", _zuko(lambda z, t, d: z.LULinearTransform(_values(t, d, 3, 3)))),
    _entry("PermutationTransform", _zuko(lambda z, t, _: z.PermutationTransform(t.tensor([2, 0, 1])))),
    _entry("NSF flow", _flow(lambda z: z.flows.NSF(3, transforms=2, hidden_features=(8,)))),
    _entry("MAF flow", _flow(lambda z: z.flows.MAF(3, transforms=2, hidden_features=(8,)))),
    _entry("NICE flow", _flow(lambda z: z.flows.NICE(3, transforms=2, hidden_features=(8,)))),
    _entry("RealNVP flow", _flow(lambda z: z.flows.RealNVP(3, transforms=2, hidden_features=(8,)))),
)
