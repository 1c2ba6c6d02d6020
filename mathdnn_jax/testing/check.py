"""`check_bijector`: is this pair of functions the bijector, with the log-determinants, that it claims to be?"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from mathdnn_jax.errors import BijectorCheckError, ConfigurationError
from mathdnn_jax.testing.support import Bounds, box

if TYPE_CHECKING:
    from mathdnn_jax.testing.cases import Case
    from mathdnn_jax.testing.failure import Failure


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
    """Check that z = f(x) is a bijector and that log_det = log|det ∂f/∂x|, and raise an error if either is wrong.

    `forward` and `inverse` are plain functions x ↦ (value, log_det). With parameters or a context they are called as
    f(params, x), f(x, context) or f(params, x, context). They are written in JAX, or brought over by an adapter
    (`from_distrax`, `from_flowjax`, `from_tfp`, `from_torch`). For a bijector of this library, call
    `check_bijector(b.forward, b.inverse, params=b.init, event_shape=...)`.

    Hypothesis draws parameters and events (zeros, equal entries, centred, off-centre, tiny, moderately large), on which
    these properties are checked:

    - log_det is log|det J|, where J is the full Jacobian from `jax.jacfwd`, whatever the sign of the determinant. A
      singular Jacobian is reported as such. At a kink of a piecewise map, log_det is wrong only if it is also wrong
      nearby.
    - J is the derivative of the values (by central differences), so that a wrong derivative rule cannot hide a wrong
      log_det.
    - inverse(forward(x)) is x, and if `latent_support` is given, forward(inverse(z)) is z for independent z.
    - The inverse's log_det is that of the inverse's own full Jacobian.
    - If `latent_support` is given but no inverse, an elementwise map reaches the ends of that support (a map that mixes
      entries is not examined, so give its inverse).
    - One event, batches of shapes (3,), (2, 3) and (1,), and `jax.vmap` agree, and so do calls with and without jit.
    - The gradients of value and log_det with respect to x, the parameters and the context are finite, and they are the
      derivatives of value and log_det (by central differences), forward and inverse, in forward and reverse mode.
    - float32 agrees with float64.
    - The value has the event's shape and log_det has exactly the batch shape, for one and for two batch axes.

    Every bound is derived from the condition of the case, see `mathdnn_jax.testing.condition`. If float64 finds a
    log_det, an inverse or a derivative wrong, or cannot decide, the map's traced program is evaluated in high precision
    (with `mpmath`), and that decides. A case that high precision cannot follow either is undecided. The full Jacobian
    has size² entries, so use small events: 2 × 2 × 3 shows what 32 × 32 × 3 would. JAX's global configuration is left
    as it is, and 64-bit types need not be enabled. Inside a `@given` of your own, hypothesis asks for
    `@settings(suppress_health_check=[HealthCheck.nested_given])`.

    Args:
        forward: the map.
        inverse: the inverse map. With None, only `forward` is checked. It may lack derivatives in reverse mode, as a
            numerical search does.
        event_shape: the shape of one x; () for a map of numbers.
        latent_shape: the shape of one z, if it differs. It must have as many entries.
        params: an example tree (used as it is, moved, and multiplied), a function key → tree such as `bijector.init`,
            or a hypothesis strategy of trees, for parameters that make sense for some values only. Leaves that are not
            floating-point are never changed.
        context: likewise, for one event.
        support: bounds (low, high) of the events' entries, both excluded, for maps on a part of the line.
        latent_support: bounds of the latents' entries. (-inf, inf) states that every z has an x.
        batched: whether leading axes are batch axes. False is for functions that take one event.
        gradients: whether reverse-mode gradients are checked. Forward mode always is.
        float32: whether the map is also run in float32.
        examples: the number of cases that are drawn in addition to the first eight.
        seed: the seed of the draws. The same seed draws the same cases.
        tolerance: the tolerance relative to the condition of the case.

    Raises:
        BijectorCheckError: a check failed, or no case could be decided. The message shows the smallest case found, the
            two numbers that differ, the mistakes that would explain them, and the Jacobian's block structure with each
            block's share of the log-det.
        ConfigurationError: the arguments do not describe a check, or `forward` has no derivatives in reverse mode.

    Example:
        >>> import jax.numpy as jnp
        >>> import mathdnn_jax as mj
        >>> def double(x):
        ...     return 2 * x, jnp.full(x.shape[:-1], 2 * jnp.log(2), x.dtype)
        >>> def halve(z):
        ...     return z / 2, jnp.full(z.shape[:-1], -2 * jnp.log(2), z.dtype)
        >>> mj.check_bijector(double, halve, event_shape=(2,), examples=1)

        A log_det that counts one entry, although the event has two:

        >>> def wrong(x):
        ...     return 2 * x, jnp.full(x.shape[:-1], jnp.log(2), x.dtype)
        >>> mj.check_bijector(wrong, event_shape=(2,), examples=1)
        Traceback (most recent call last):
            ...
        mathdnn_jax.errors.BijectorCheckError: forward fails the check 'log_det': forward's log_det must be ...
          log_det        0.6931471806
          log|det J|     1.386294361
          difference     -0.6931471806
          allowed        ...
          sign of det J  1
          likely mistake: the factor 2 is missing (a product of sizes in (2,))
          ...
        smallest case found (... cases tried):
          x = [0., 0.]
        Jacobian of forward, 2 outputs (rows) × 2 inputs; ...
    """
    # Hypothesis and the checker itself take a while to import, which whoever only imports this room need not wait for.
    from mathdnn_jax.testing.check_case import CaseChecker
    from mathdnn_jax.testing.check_event import CheckState
    from mathdnn_jax.testing.contract import check_contract
    from mathdnn_jax.testing.precision import apart_from_other_programs
    from mathdnn_jax.testing.programs import as_arrays, direction
    from mathdnn_jax.testing.report import as_error
    from mathdnn_jax.testing.search import search
    from mathdnn_jax.testing.strategy import case_strategy

    latent_shape = event_shape if latent_shape is None else latent_shape
    size = int(np.prod(event_shape))
    if size != np.prod(latent_shape) or size < 1 or examples < 1 or not tolerance > 0:
        raise ConfigurationError(
            f"given {event_shape=}, {latent_shape=}, {examples=}, {tolerance=}; expected events and latents with the "
            "same number of entries, at least one example, and a positive tolerance"
        )
    x_support, z_support = box(support, event_shape, "support"), box(latent_support, latent_shape, "latent_support")
    common = {"with_params": params is not None, "batched": batched, "gradients": gradients}
    forwards = direction("forward", forward, event_shape, latent_shape, x_support, **common)
    backwards = None
    if inverse is not None:
        backwards = direction("inverse", inverse, latent_shape, event_shape, z_support, **common)
    state = CheckState(tolerance, float32=float32)
    check_case = CaseChecker(forwards, backwards, x_support, z_support, state)
    called = decided = False

    stack = contextlib.ExitStack()

    def check(case: Case, without_jit: bool) -> Failure | None:
        nonlocal called, decided
        if not called:
            for one in (forwards, backwards):
                if one is not None:
                    arguments = as_arrays(case.params), as_arrays(case.context), np.zeros(one.shape)
                    stack.enter_context(apart_from_other_programs(one.call, *arguments))
                    failure = check_contract(one, case.params, case.context, batched=batched, float32=float32)
                    if failure is not None:
                        raise as_error(failure)
            called = True
        failure, is_decisive = check_case(case, without_jit)
        decided |= is_decisive
        return failure

    # Numbers that overflow are undecided, and no warning.
    with jax.enable_x64(True), np.errstate(all="ignore"), stack:
        latents = None if latent_support is None else (latent_shape, z_support)
        first, strategy = case_strategy(params, context, (event_shape, x_support), latents, seed)
        found = search(first, strategy, check, examples=examples, seed=seed)
        if found is not None:
            raise as_error(found.failure, found.case, found.tried)
    if not decided:
        reason = "" if state.unresolved is None else f" (high precision could not decide: {state.unresolved})"
        raise BijectorCheckError(
            "no case could be decided: wherever the map was tried, its Jacobian is too ill-conditioned for the "
            f"tolerance{reason}; give a support, or parameters, for which it is better conditioned",
            check="undecided",
            direction="forward",
        )
