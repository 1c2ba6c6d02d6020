"""One training step: how a batch changes the parameters."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.training.guard import advance_where, all_finite, choose

Tree = Any
"""Any pytree of arrays."""
Loss = Callable[..., Any]
Players = tuple[tuple[str, Loss, optax.GradientTransformation], ...]


class Stepped(NamedTuple):
    """The result of one training step.

    - `params`, `optimizer_state`, `state`: the new values, with the structure, shapes and dtypes of the old ones;
    - `loss`: a scalar;
    - `metrics`: a dict of scalars, possibly empty;
    - `finite`: a bool scalar, whether everything that the step depends on is finite. If it is False, or the loss is
      not finite, `fit` keeps the old values and stops.
    """

    params: Tree
    optimizer_state: Tree
    state: Tree
    loss: jax.Array
    metrics: dict[str, jax.Array]
    finite: jax.Array


class Update(NamedTuple):
    """One training step as pure functions. `fit` runs an `Update`; define your own for another training scheme.

    - `init(params) -> optimizer_state`;
    - `step(params, optimizer_state, state, batch, key, mask) -> Stepped`, where `state` is None for a model without
      mutable state, `key` is unique to the step, and `mask` is bool (batch_size,) with `remainder="pad"`, else None;
    - `guards`: whether `step` also takes a bool scalar `alive=` and returns the old parameters and states itself if
      `alive` is False or the step or its loss is not finite. Otherwise `fit` chooses between old and new values
      afterwards, which costs copies on a CPU.
    """

    init: Callable[[Tree], Tree]
    step: Callable[..., Stepped]
    guards: bool = False


@functools.lru_cache(maxsize=16)  # so that runs with the same loss and optimiser share one compiled program
def gradient_update(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    has_state: bool = False,
    clip_norm: float | None = None,
    compute_dtype: Any = None,
) -> Update:
    """Gradient descent: θ ← θ + u(∇_θ loss), where u is the optimiser's update.

    Args:
        loss: `loss(params, batch, key)` returns a scalar or (scalar, metrics); with `has_state`,
            `loss(params, state, batch, key)` returns (scalar, (state, metrics)). It is also passed `mask=` if there
            is one.
        optimizer: An optax optimiser. Its update is also passed `value=`, the loss, for optimisers that need it.
        has_state: Whether the loss takes and returns mutable state.
        clip_norm: Gradients with a greater 2-norm over all leaves are scaled down to this norm.
        compute_dtype: Floating-point parameters and batches are cast to this dtype for the loss, while parameters,
            gradients, optimiser state and model state keep theirs: `jnp.bfloat16` with float32 master weights.

    Returns:
        The step as an `Update`; equal arguments give the same object.

    Raises:
        ConfigurationError: `clip_norm` is not positive; or, in the first step, the loss returns something else.
    """
    if clip_norm is not None and not clip_norm > 0:
        raise ConfigurationError(f"gradients can only be clipped to a positive norm, given clip_norm={clip_norm}")
    chained = optax.with_extra_args_support(
        optimizer if clip_norm is None else optax.chain(optax.clip_by_global_norm(clip_norm), optimizer)
    )

    def advance(old: tuple[Tree, Tree], gradient: Tree, value: jax.Array) -> tuple[Tree, Tree]:
        params, optimizer_state = old
        with jax.numpy_dtype_promotion("standard"):  # optax itself mixes dtypes
            updates, new_optimizer_state = chained.update(gradient, optimizer_state, params, value=value)
            return optax.apply_updates(params, updates), new_optimizer_state

    def step(given: _StepArguments) -> Stepped:
        def objective(params: Tree) -> tuple[jax.Array, tuple[Tree, dict[str, jax.Array]]]:
            state = (given.state,) if has_state else ()
            keywords = {} if given.mask is None else {"mask": given.mask}
            low = _cast_floats(params, compute_dtype), *state, _cast_floats(given.batch, compute_dtype), given.key
            return _checked(loss(*low, **keywords), given.state, has_state)

        (value, (new_state, metrics)), gradient = jax.value_and_grad(objective, has_aux=True)(given.params)
        finite = all_finite((gradient, new_state))
        old = given.params, given.optimizer_state
        if given.alive is None:
            new = advance(old, gradient, value)
        else:
            alive = given.alive & finite & jnp.isfinite(value)
            new = advance_where(alive, advance, old, gradient, value)
            new_state = choose(alive, new_state, given.state)
        return Stepped(*new, new_state, value, metrics, finite)

    return _guarded_update(_compiled_init(chained.init), step)


@functools.lru_cache(maxsize=16)
def alternating_update(
    players: Players,
    *,
    has_state: bool = False,
    clip_norm: float | None = None,
    compute_dtype: Any = None,
) -> Update:
    """Each player in turn takes a gradient step on its own parameters, given the others' newest, as in a GAN.

    Each of `players` is (name, loss, optimiser). The player `name` owns `params[name]` and minimises its loss, which is
    called as in `gradient_update`, with the parameters of all players and its own key. The loss of the step is the
    first player's; the losses of all players are the metrics `{name}_loss`. The other arguments are those of
    `gradient_update`.

    Returns:
        The step as an `Update`; equal arguments give the same object.

    Raises:
        ConfigurationError: There is no player, or two have the same name; or, in the first step, `params` does not
            have exactly one entry for each player.

    Source: Goodfellow et al., "Generative Adversarial Networks", 2014, algorithm 1.
    """
    names = [name for name, _, _ in players]
    if not players or len(set(names)) < len(names):
        raise ConfigurationError(f"one or more players alternate, each with its own name, given {names}")

    def own_update(name: str, loss: Loss, optimizer: optax.GradientTransformation) -> Update:
        def own_loss(own: Tree, *rest: Tree, **keywords: Tree) -> Tree:
            *arguments, (batch, params), key = rest
            return loss({**params, name: own}, *arguments, batch, key, **keywords)

        return gradient_update(
            own_loss, optimizer, has_state=has_state, clip_norm=clip_norm, compute_dtype=compute_dtype
        )

    updates = {name: own_update(name, loss, optimizer) for name, loss, optimizer in players}

    def init(params: Tree) -> Tree:
        given = sorted(params) if isinstance(params, Mapping) else type(params).__name__
        if given != sorted(names):
            raise ConfigurationError(f"each player owns one entry of the parameters: players {names}, given {given}")
        return {name: update.init(params[name]) for name, update in updates.items()}

    def step(given: _StepArguments) -> Stepped:
        params, optimizer_state, state, batch, key, mask, alive = given
        metrics: dict[str, jax.Array] = {}
        finite = jnp.asarray(True)
        for k, (name, update) in enumerate(updates.items()):
            # Only the last player can guard its own values: those of the others depend on whether all steps are finite.
            guard = alive & finite if alive is not None and name == names[-1] else None
            own_key = jax.random.fold_in(key, k)
            own = update.step(params[name], optimizer_state[name], state, (batch, params), own_key, mask, alive=guard)
            params = {**params, name: own.params}
            optimizer_state = {**optimizer_state, name: own.optimizer_state}
            state = own.state
            metrics |= {**own.metrics, f"{name}_loss": own.loss}
            finite &= own.finite & jnp.isfinite(own.loss)
        if alive is not None:
            alive = alive & finite
            for name in names[:-1]:
                params[name] = choose(alive, params[name], given.params[name])
                optimizer_state[name] = choose(alive, optimizer_state[name], given.optimizer_state[name])
            state = choose(alive, state, given.state)
        return Stepped(params, optimizer_state, state, metrics[f"{names[0]}_loss"], metrics, finite)

    return _guarded_update(init, step)


class _StepArguments(NamedTuple):
    """The arguments of a guarded `Update.step`."""

    params: Tree
    optimizer_state: Tree
    state: Tree
    batch: Tree
    key: jax.Array
    mask: jax.Array | None
    alive: jax.Array | None = None


def _guarded_update(init: Callable[[Tree], Tree], step: Callable[[_StepArguments], Stepped]) -> Update:
    def unpacked(*arguments: Any, **named: Any) -> Stepped:
        return step(_StepArguments(*arguments, **named))

    return Update(init, unpacked, guards=True)


def _compiled_init(init: Callable[[Tree], Tree]) -> Callable[[Tree], Tree]:
    """The same function, compiled as a whole rather than operation by operation, if it can be compiled."""
    compiled = jax.jit(init)

    def first_state(params: Tree) -> Tree:
        try:
            return compiled(params)
        except (jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError):
            return init(params)

    return first_state


def _cast_floats(tree: Tree, dtype: jax.typing.DTypeLike | None) -> Tree:
    if dtype is None:
        return tree
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, tree)


def _checked(returned: Tree, state: Tree, has_state: bool) -> tuple[jax.Array, tuple[Tree, dict[str, jax.Array]]]:
    """(loss, (state, metrics)) in float32 or wider, the state in its old dtypes."""
    value, new_state = returned, state
    metrics: Any = {}
    if has_state:
        if not (isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], tuple)):
            raise ConfigurationError("a loss with state must return (scalar, (state, metrics)); metrics may be {}")
        value, (new_state, metrics) = returned
        before, after = str(jax.tree.structure(state)), str(jax.tree.structure(new_state))
        if after != before:
            raise ConfigurationError(
                f"a loss must return the state in the structure it was given: given {before}, returned {after}"
            )
        new_state = jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), new_state, state)
    elif isinstance(returned, tuple):
        value, metrics = returned
    if not isinstance(metrics, Mapping) or "loss" in metrics:
        raise ConfigurationError(f"metrics must be a dict of scalars with names other than 'loss', given {metrics!r}")
    scalars = {"loss": value, **metrics}
    wrong = [f"{name} of shape {jnp.shape(scalar)}" for name, scalar in scalars.items() if jnp.shape(scalar) != ()]
    if wrong:
        raise ConfigurationError(f"a loss and its metrics must be scalars, given {', '.join(wrong)}")
    measured = {name: _at_least_float32(scalar) for name, scalar in scalars.items()}
    return measured.pop("loss"), (new_state, measured)


def _at_least_float32(scalar: Tree) -> jax.Array:
    array: jax.Array = jnp.asarray(scalar)
    return array if array.dtype.itemsize >= 4 else jnp.asarray(array, jnp.float32)
