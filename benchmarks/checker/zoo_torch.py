"""Transforms of torch.distributions and of zuko."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.checker.entry import POSITIVE, SYMMETRIC, UNIT, Make, right
from mathdnn_jax.testing import from_torch


def _transform(make: Callable[[Any, Any], Any]) -> Make:
    """Turn a function (torch, dtype) → transform into the `make` of an entry."""

    def adapt() -> Any:
        import torch

        return from_torch(lambda dtype: make(torch, dtype), 1)

    return adapt


def _zuko(make: Callable[[Any, Any, Any], Any]) -> Make:
    """Turn a function (zuko's transforms, torch, dtype) → transform into the `make` of an entry."""

    def adapt() -> Any:
        import zuko

        return _transform(lambda torch, dtype: make(zuko.transforms, torch, dtype))()

    return adapt


def _flow(make: Callable[[Any], Any]) -> Make:
    """Turn a function of zuko that builds a flow with random weights into the `make` of an entry."""

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


def _affine(torch: Any, dtype: Any) -> Any:
    scale = torch.tensor([-0.5, 2.0, 0.25], dtype=dtype)
    return torch.distributions.AffineTransform(_values(torch, dtype, 3), scale)


def _compose(torch: Any, dtype: Any) -> Any:
    d = torch.distributions
    return d.ComposeTransform(
        [d.AffineTransform(torch.tensor(0.5, dtype=dtype), torch.tensor(0.25, dtype=dtype)), d.TanhTransform()]
    )


TORCH = (
    right("AffineTransform", _transform(_affine)),
    right("ExpTransform", _transform(lambda t, _: t.distributions.ExpTransform()), POSITIVE),
    right("SigmoidTransform", _transform(lambda t, _: t.distributions.SigmoidTransform()), UNIT),
    right("TanhTransform", _transform(lambda t, _: t.distributions.TanhTransform()), SYMMETRIC),
    right("SoftplusTransform", _transform(lambda t, _: t.distributions.SoftplusTransform()), POSITIVE),
    right(
        "PowerTransform",
        _transform(lambda t, dtype: t.distributions.PowerTransform(t.tensor(3.0, dtype=dtype))),
        POSITIVE,
        support=POSITIVE,
    ),
    right("ComposeTransform of affine, tanh", _transform(_compose), SYMMETRIC),
)
ZUKO = (
    right("SoftclipTransform", _zuko(lambda z, _, __: z.SoftclipTransform(5.0)), (-5.0, 5.0)),
    right(
        "SignedPowerTransform",
        _zuko(lambda z, t, d: z.SignedPowerTransform(_values(t, d, 3) / 4)),
        support=POSITIVE,
        latent_support=POSITIVE,
    ),
    right(
        "MonotonicAffineTransform",
        _zuko(lambda z, t, d: z.MonotonicAffineTransform(_values(t, d, 3), _values(t, d, 3))),
    ),
    right(
        "MonotonicRQSTransform",
        _zuko(lambda z, t, d: z.MonotonicRQSTransform(_values(t, d, 3, 4), _values(t, d, 3, 4), _values(t, d, 3, 3))),
    ),
    right("RotationTransform", _zuko(lambda z, t, d: z.RotationTransform(_values(t, d, 3, 3)))),
    right("LULinearTransform", _zuko(lambda z, t, d: z.LULinearTransform(_values(t, d, 3, 3)))),
    right("PermutationTransform", _zuko(lambda z, t, _: z.PermutationTransform(t.tensor([2, 0, 1])))),
    right("NSF flow", _flow(lambda z: z.flows.NSF(3, transforms=2, hidden_features=(8,)))),
    right("MAF flow", _flow(lambda z: z.flows.MAF(3, transforms=2, hidden_features=(8,)))),
    right("NICE flow", _flow(lambda z: z.flows.NICE(3, transforms=2, hidden_features=(8,)))),
    right("RealNVP flow", _flow(lambda z: z.flows.RealNVP(3, transforms=2, hidden_features=(8,)))),
)
