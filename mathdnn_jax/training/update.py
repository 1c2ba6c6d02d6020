"""What one batch does to the parameters."""

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
    """What one training step returns.

    - `params`, `optimizer_state`, `state`: the new ones, of the structure, shapes and dtypes of the old;
    - `loss`: a scalar;
    - `metrics`: a dict of scalars, may be empty;
    - `finite`: a bool scalar, whether everything that the step rests on is finite. Where it is false, or the loss is
      not finite, `fit` keeps the old values and stops.
    """

    params: Tree
    optimizer_state: Tree
    state: Tree
    loss: jax.Array
    metrics: dict[str, jax.Array]
    finite: jax.Array


class Update(NamedTuple):
    """One training step as pure functions: what `fit` runs, and what a scheme of one's own provides.

    - `init(params) -> optimizer_state`;
    - `step(params, optimizer_state, state, batch, key, mask) -> Stepped`, where `state` is None for a model without
      mutable state, `key` is this step's own, and `mask` is bool (batch_size,) with `remainder="pad"` and None else;
    - `guards`: whether `step` also takes `alive=`, a bool scalar, and itself returns the old parameters and states
      where that is false, or the step or its loss is not finite. Else `fit` chooses between old and new afterwards,
      which takes copies on a processor.
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
    """θ ← θ + u(∇_θ loss), u being the optimiser's.

    Args:
        loss: `loss(params, batch, key)` → a scalar or (a scalar, metrics); with `has_state`,
            `loss(params, state, batch, key)` → (a scalar, (state, metrics)). Given `mask=` too where there is one.
        optimizer: of optax; its update is also given `value=` the loss, for optimisers that ask for it.
        has_state: see above.
        clip_norm: gradients with a greater 2-norm over all leaves are scaled down to it.
        compute_dtype: floating parameters and batches are cast to it for the loss, while parameters, gradients,
            optimiser and state stay as they are: `jnp.bfloat16` with float32 master weights.

    Raises:
        ConfigurationError: `clip_norm` is not positive; or, when first run, the loss returns something else.
    """
    if clip_norm is not None and not clip_norm > 0:
        raise ConfigurationError(f"gradients can be clipped to a positive norm, given clip_norm={clip_norm}")
    chained = optax.with_extra_args_support(
        optimizer if clip_norm is None else optax.chain(optax.clip_by_global_norm(clip_norm), optimizer)
    )

    def advance(old: tuple[Tree, Tree], gradient: Tree, value: jax.Array) -> tuple[Tree, Tree]:
        params, optimizer_state = old
        with jax.numpy_dtype_promotion("standard"):  # optax itself mixes dtypes
            updates, new_optimizer_state = chained.update(gradient, optimizer_state, params, value=value)
            return optax.apply_updates(params, updates), new_optimizer_state

    def step(
        params: Tree,
        optimizer_state: Tree,
        state: Tree,
        batch: Tree,
        key: jax.Array,
        mask: jax.Array | None,
        alive: jax.Array | None = None,
    ) -> Stepped:
        def objective(params: Tree) -> tuple[jax.Array, tuple[Tree, dict[str, jax.Array]]]:
            arguments = (state,) if has_state else ()
            keywords = {} if mask is None else {"mask": mask}
            low = _cast_floats(params, compute_dtype), *arguments, _cast_floats(batch, compute_dtype), key
            return _checked(loss(*low, **keywords), state, has_state)

        (value, (new_state, metrics)), gradient = jax.value_and_grad(objective, has_aux=True)(params)
        finite = all_finite((gradient, new_state))
        old = params, optimizer_state
        if alive is None:
            new = advance(old, gradient, value)
        else:
            alive = alive & finite & jnp.isfinite(value)
            new = advance_where(alive, advance, old, gradient, value)
            new_state = choose(alive, new_state, state)
        return Stepped(*new, new_state, value, metrics, finite)

    return Update(_as_one_program(chained.init), step, guards=True)


@functools.lru_cache(maxsize=16)
def alternating_update(
    players: Players,
    *,
    has_state: bool = False,
    clip_norm: float | None = None,
    compute_dtype: Any = None,
) -> Update:
    """In turn, each player's gradient step on its own parameters, given the others' newest: a GAN's two optimisers.

    Each of `players` is (name, loss, optimiser). The player `name` owns `params[name]` and minimises its loss, which is
    called as in `gradient_update`, with the parameters of all and a key of its own. The loss of the first player is
    the step's; those of all are metrics `{name}_loss`. The other arguments are as in `gradient_update`.

    Raises:
        ConfigurationError: there is no player, or two of one name; or, when first run, `params` are not the players'.

    Source: Goodfellow et al., "Generative Adversarial Networks", 2014, algorithm 1.
    """
    names = [name for name, _, _ in players]
    if not players or len(set(names)) < len(names):
        raise ConfigurationError(f"one or more players alternate, each with a name of its own, given {names}")

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
            raise ConfigurationError(f"each player owns its entry of the parameters: players {names}, given {given}")
        return {name: update.init(params[name]) for name, update in updates.items()}

    def step(
        params: Tree,
        optimizer_state: Tree,
        state: Tree,
        batch: Tree,
        key: jax.Array,
        mask: jax.Array | None,
        alive: jax.Array | None = None,
    ) -> Stepped:
        old_params, old_optimizer_state, old_state = params, optimizer_state, state
        metrics: dict[str, jax.Array] = {}
        finite = jnp.asarray(True)
        for k, (name, update) in enumerate(updates.items()):
            # Only the last may keep its old values by itself: the others' wait for all.
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
                params[name] = choose(alive, params[name], old_params[name])
                optimizer_state[name] = choose(alive, optimizer_state[name], old_optimizer_state[name])
            state = choose(alive, state, old_state)
        return Stepped(params, optimizer_state, state, metrics[f"{names[0]}_loss"], metrics, finite)

    return Update(init, step, guards=True)


def _as_one_program(init: Callable[[Tree], Tree]) -> Callable[[Tree], Tree]:
    """The same, compiled once and not for every shape by itself, where the function can be compiled."""
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
    """(loss, (state, metrics)), at least in float32, the state in the dtypes that it had."""
    value, new_state = returned, state
    metrics: Any = {}
    if has_state:
        if not (isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], tuple)):
            raise ConfigurationError("a loss with mutable state returns (scalar, (state, metrics)); metrics may be {}")
        value, (new_state, metrics) = returned
        before, after = str(jax.tree.structure(state)), str(jax.tree.structure(new_state))
        if after != before:
            raise ConfigurationError(f"a loss returns the state in its structure: given {before}, returned {after}")
        new_state = jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), new_state, state)
    elif isinstance(returned, tuple):
        value, metrics = returned
    if not isinstance(metrics, Mapping) or "loss" in metrics:
        raise ConfigurationError(f"metrics are a dict of scalars with names other than 'loss', given {metrics!r}")
    scalars = {"loss": value, **metrics}
    wrong = [f"{name} of shape {jnp.shape(scalar)}" for name, scalar in scalars.items() if jnp.shape(scalar) != ()]
    if wrong:
        raise ConfigurationError(f"a loss and its metrics are scalars, given {', '.join(wrong)}")
    told = {name: _at_least_float32(scalar) for name, scalar in scalars.items()}
    return told.pop("loss"), (new_state, told)


def _at_least_float32(scalar: Tree) -> jax.Array:
    array: jax.Array = jnp.asarray(scalar)
    return array if array.dtype.itemsize >= 4 else jnp.asarray(array, jnp.float32)
