"""`check_bijector`: is this pair of functions the bijector, with the log-determinants, that it claims to be?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from mathdnn_jax.errors import BijectorCheckError, ConfigurationError
from mathdnn_jax.testing.cases import Case
from mathdnn_jax.testing.check_case import Judge
from mathdnn_jax.testing.contract import check_contract
from mathdnn_jax.testing.draw import cases
from mathdnn_jax.testing.finding import Finding
from mathdnn_jax.testing.opinion import Precision
from mathdnn_jax.testing.programs import direction
from mathdnn_jax.testing.report import error_of
from mathdnn_jax.testing.search import search
from mathdnn_jax.testing.support import Bounds, box


def check_bijector(
    forward: Callable[..., Any],
    inverse: Callable[..., Any] | None = None,
    *,
    event_shape: tuple[int, ...],
    latent_shape: tuple[int, ...] | None = None,
    params: Any = None,
    context: Any = None,
    support: Bounds = None,
    latent_support: Bounds = None,
    batched: bool = True,
    gradients: bool = True,
    float32: bool = True,
    examples: int = 25,
    seed: int = 0,
    tolerance: float = 1e-9,
) -> None:
    """Return None if z = f(x) with log_det = log|det ∂f/∂x| holds in all that is checked; raise where it does not.

    `forward` and `inverse` are plain functions x ↦ (value, log_det), or f(params, x), f(x, context),
    f(params, x, context) where parameters or a context are given; written in JAX, or brought over by an adapter
    (`from_distrax`, `from_flowjax`, `from_tfp`, `from_torch`). For a bijector of this library:
    `check_bijector(b.forward, b.inverse, params=b.init, event_shape=...)`.

    On parameters and events that hypothesis draws (zeros, equal entries, centred, off-centre, tiny, moderately large)
    it is verified that

    - log_det is log|det J|, J the full Jacobian from `jax.jacfwd`, whatever the determinant's sign; a singular Jacobian
      is reported as such; at a kink of a piecewise map only what is also wrong nearby is wrong;
    - J is the derivative of the values (central differences), so that a wrong rule of differentiation does not hide a
      wrong log_det;
    - inverse(forward(x)) is x, and forward(inverse(z)) is z for independent z where `latent_support` is given;
    - the inverse's log_det is that of the inverse's own full Jacobian;
    - one event, a batch of three and `jax.vmap` agree; jit and no jit agree;
    - the gradients of value and log_det are finite in x and in the parameters;
    - float32 agrees with float64;
    - the value has the event's shape and log_det the batch shape, exactly, for one and for two batch axes.

    Every bound is derived from the condition of the case, see `mathdnn_jax.testing.condition`. What float64 finds wrong
    in a log_det, an inverse or a derivative, and what it cannot decide, is decided in high precision (`mpmath`), in
    which the map's traced program is evaluated; a case that this cannot follow either is undecided. The whole Jacobian
    has size² entries, so use small events (2 × 2 × 3 shows what 32 × 32 × 3 would). The global configuration of JAX is
    left as it is, and 64-bit types need not be enabled. Inside a `@given` of your own, hypothesis wants
    `@settings(suppress_health_check=[HealthCheck.nested_given])`.

    Args:
        forward: the map.
        inverse: the map backwards; None checks `forward` alone.
        event_shape: of one x, () for a map of numbers.
        latent_shape: of one z, if it is another shape of as many entries.
        params: an example tree (moved, multiplied and taken as it is), a function key → tree such as `bijector.init`,
            or a hypothesis strategy of trees, for parameters that only some values make sense for. Leaves that are not
            floating-point are never changed.
        context: likewise, for one event.
        support: bounds (low, high) of the events' entries, for maps on part of the line; ends excluded.
        latent_support: bounds of the latents' entries; (-inf, inf) says that every z has an x.
        batched: whether leading axes are batch axes; False for functions that take one event.
        gradients: whether reverse-mode gradients of `forward` are checked; forward mode always is.
        float32: whether the map is run in float32 too.
        examples: how many cases are drawn beyond the first eight.
        seed: of the draws; the same seed draws the same cases.
        tolerance: relative to the condition of the case.

    Raises:
        BijectorCheckError: a check failed, or no case could be decided. The message shows the smallest case found, the
            two numbers that differ, what mistake would explain them, and the Jacobian's block structure with each
            block's share of the log-det.
        ConfigurationError: the arguments describe no check.
    """
    latent_shape = event_shape if latent_shape is None else latent_shape
    size = int(np.prod(event_shape))
    if size != np.prod(latent_shape) or size < 1 or examples < 1 or not tolerance > 0:
        raise ConfigurationError(
            f"a bijector takes events of one or more entries to as many, and a check needs examples and a tolerance; "
            f"given {event_shape=}, {latent_shape=}, {examples=}, {tolerance=}"
        )
    x_support, z_support = box(support, event_shape, "support"), box(latent_support, latent_shape, "latent_support")
    common = {"with_params": params is not None, "batched": batched}
    forwards = direction("forward", forward, event_shape, latent_shape, x_support, gradients=gradients, **common)
    backwards = None
    if inverse is not None:
        backwards = direction("inverse", inverse, latent_shape, event_shape, z_support, gradients=False, **common)
    precision = Precision(tolerance, float32=float32)
    judge = Judge(forwards, backwards, x_support, z_support, precision)
    called = decided = False

    def judged(case: Case, plainly: bool) -> Finding | None:
        nonlocal called, decided
        if not called:
            for one in (forwards, backwards):
                if one is not None:
                    finding = check_contract(one, case.params, case.context, batched=batched, float32=float32)
                    if finding is not None:
                        raise error_of(finding)
            called = True
        finding, decisive = judge(case, plainly)
        decided |= decisive
        return finding

    with jax.enable_x64(True):
        latents = None if latent_support is None else (latent_shape, z_support)
        first, strategy = cases(params, context, (event_shape, x_support), latents, seed)
        found = search(first, strategy, judged, examples=examples, seed=seed)
    if found is not None:
        raise error_of(found.finding, found.case, found.tried)
    if not decided:
        reason = "" if precision.unresolved is None else f" (high precision could not tell: {precision.unresolved})"
        raise BijectorCheckError(
            "no case could be decided: wherever the map was tried, its Jacobian is too ill-conditioned for the "
            f"tolerance{reason}; give a support, or parameters, at which it is not",
            check="undecided",
            direction="forward",
        )
