"""The training loop."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import optax
from jax.sharding import Mesh

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.training.batches import Remainder, batches, count_examples
from mathdnn_jax.training.checkpoints import Checkpoints
from mathdnn_jax.training.history import FitResult
from mathdnn_jax.training.run import Callback, Evaluate, Run, Start, Watch, train
from mathdnn_jax.training.stream import Stream
from mathdnn_jax.training.update import Loss, Tree, Update, alternating_update, gradient_update


def fit(
    loss: Loss | Mapping[str, Loss] | Update,
    params: Tree,
    data: Tree,
    optimizer: optax.GradientTransformation | Mapping[str, optax.GradientTransformation] | None,
    *,
    epochs: int,
    batch_size: int,
    key: jax.Array,
    state: Tree = None,
    remainder: Remainder | None = None,
    shuffle: bool = True,
    clip_norm: float | None = None,
    ema_decay: float | None = None,
    compute_dtype: Any = None,
    mesh: Mesh | None = None,
    param_specs: Tree = None,
    evaluate: Evaluate | None = None,
    callback: Callback | None = None,
    checkpoints: Checkpoints | None = None,
) -> FitResult:
    """Minimise the mean of a loss over data: whole epochs, shuffled on the device, as one compiled program.

    Where nobody watches (no `callback`, no `evaluate`, no checkpoint due) several epochs are one dispatch. The result
    is a function of the arguments alone: the same call on the same machine gives the same bits, also if it was killed
    on the way and resumed from its checkpoints. Runs with the same loss and optimiser objects share one compilation.

    Args:
        loss: pure, `loss(params, batch, key)` → a scalar or (a scalar, a dict of scalar metrics). With `state`,
            `loss(params, state, batch, key)` → (a scalar, (state, metrics)). `batch` is `data` with `batch_size` rows;
            `key` is this step's own. With `remainder="pad"` it is given `mask=`, bool (batch_size,), too, and should be
            a mean over the rows where that is true. For players that alternate, as in a GAN, a dict of losses, see
            `alternating_update`; for any other scheme an `Update`, which has its own optimiser.
        params: where training starts; any pytree of floating arrays. Never changed: training works on a copy.
        data: a pytree of arrays with one common length along their first axes, put on the device whole; or what
            `stream` returns, for data larger than the device.
        optimizer: of optax, with its schedule; a dict like `loss` for players; None for an `Update`.
        epochs: how often every example is visited.
        batch_size: examples in a step, over all devices together.
        key: shuffles and everything the loss draws derive from it, the epoch and the step.
        state: mutable state of the model, such as running statistics; a pytree of arrays.
        remainder: what becomes of a last incomplete batch: "drop" leaves its examples out of this epoch, "wrap" fills
            it from the beginning of the epoch's order, "pad" does so too and masks them. It must be said where
            `batch_size` does not divide the examples.
        shuffle: whether every epoch has an order of its own; else all have that of the data.
        clip_norm: the greatest 2-norm of a gradient.
        ema_decay: also keep an average of the parameters, e ← decay e + (1 − decay) θ after every step, from e = θ.
        compute_dtype: the loss is computed in it, with master weights as `params` are; see `gradient_update`.
        mesh: spread each batch over its axis "data", see `device_mesh`. All processes of a run give the same arguments.
        param_specs: a PartitionSpec for each parameter, as `shard_wide_layers` makes them; by default every device has
            all of them.
        evaluate: `evaluate(params, state)` → a dict of scalars, called after every epoch, with the averaged parameters
            where they are kept. It goes into the history. It is not compiled here and must not keep what it is given.
        callback: told after every epoch what an `EpochReport` has; where it returns True, training ends there. After a
            run was killed, it may be told of an epoch again.
        checkpoints: where and when to write them, and whether to go on from one; see `Checkpoints`.

    Returns:
        The last parameters with everything else that training made; see `FitResult`.

    Raises:
        ConfigurationError: arguments that describe no run.
        DataSetError: the data has no common length, or not one batch.
        DivergedError: the loss or a gradient became NaN or infinite. It has the results until then.
        ResumeError: the checkpoint to go on from is damaged or of another run.
        OutputError: checkpoints cannot be written, `UnsavedError` where there are results that it can have.
        MissingDependencyError: checkpoints without orbax, or a stream without grain.
    """
    update = _update(loss, optimizer, state is not None, clip_norm, compute_dtype)
    if epochs < 1:
        raise ConfigurationError(f"training visits the examples at least once, given epochs={epochs}")
    if ema_decay is not None and not 0 <= ema_decay < 1:
        raise ConfigurationError(f"an average decays by a number in [0, 1), given ema_decay={ema_decay}")
    examples = len(data.source) if isinstance(data, Stream) else count_examples(data)
    cut = batches(examples, batch_size, remainder, shuffle)
    run = Run(update, cut, epochs, ema_decay, mesh)
    return train(run, Start(params, state, param_specs, key), data, Watch(evaluate, callback, checkpoints))


def _update(
    loss: Loss | Mapping[str, Loss] | Update,
    optimizer: optax.GradientTransformation | Mapping[str, optax.GradientTransformation] | None,
    has_state: bool,
    clip_norm: float | None,
    compute_dtype: Any,
) -> Update:
    if isinstance(loss, Update):
        if optimizer is not None or clip_norm is not None or compute_dtype is not None:
            raise ConfigurationError("an Update has its own optimiser, clipping and dtype: give None for them")
        return loss
    if isinstance(loss, Mapping):
        if not isinstance(optimizer, Mapping) or set(optimizer) != set(loss):
            raise ConfigurationError(f"players {sorted(loss)} need a dict with an optimiser for each")
        players = tuple((name, loss[name], optimizer[name]) for name in loss)
        return alternating_update(players, has_state=has_state, clip_norm=clip_norm, compute_dtype=compute_dtype)
    if not isinstance(optimizer, optax.GradientTransformation):
        raise ConfigurationError(f"a loss is minimised by an optimiser of optax, given {type(optimizer).__name__}")
    try:
        hash(loss)
    except TypeError:
        # A method of a module with a list in it, say; a partial is known by its identity.
        loss = functools.partial(loss)
    return gradient_update(loss, optimizer, has_state=has_state, clip_norm=clip_norm, compute_dtype=compute_dtype)
