"""The training loop."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax
from jax.sharding import Mesh

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.training.batches import Remainder, count_examples, plan_batches
from mathdnn_jax.training.checkpoints import Checkpoints
from mathdnn_jax.training.history import FitResult
from mathdnn_jax.training.loss_signature import check_loss
from mathdnn_jax.training.run import MOST_STEPS, Callback, Evaluate, Observers, Run, Start, train
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
    stop: Callable[[], bool] | None = None,
) -> FitResult:
    """Minimise the mean of a loss over a data set: whole epochs, shuffled on the device, in one compiled program.

    As long as nothing has to happen between epochs (no `callback`, `evaluate` or `stop`, no checkpoint due), several
    epochs run in a single dispatch. The result is a function of the arguments alone: the same call on the same machine
    gives the same bits, even if the run was killed and resumed from its checkpoints. Runs with the same loss and
    optimiser objects share one compilation.

    Args:
        loss: A pure function `loss(params, batch, key)` that returns a scalar or (scalar, dict of scalar metrics). With
            `state`, `loss(params, state, batch, key)` returns (scalar, (state, metrics)). `batch` is `data` with
            `batch_size` rows, and `key` is unique to the step. With `remainder="pad"` the loss is also passed `mask=`,
            bool (batch_size,), and should average over the rows where it is True. For players that alternate, as in a
            GAN, pass a dict of losses (see `alternating_update`); for any other scheme, an `Update`, which contains its
            own optimiser.
        params: The initial parameters, any pytree of floating-point arrays. They are never modified: training works on
            a copy.
        data: A pytree of arrays with a common length along their first axes, transferred to the device as a whole, or
            the result of `stream` for data larger than the device's memory.
        optimizer: An optax optimiser, including its schedule; a dict with the keys of `loss` for players; None for an
            `Update`.
        epochs: Number of passes over the examples.
        batch_size: Number of examples in a step, over all devices together.
        key: Shuffling and everything the loss draws derive from this key, the epoch and the step.
        state: Mutable state of the model, such as running statistics; a pytree of arrays.
        remainder: What happens to an incomplete last batch: "drop" skips its examples in this epoch, "wrap" fills it
            from the beginning of the epoch's order, "pad" does the same and masks the fill. Required if `batch_size`
            does not divide the number of examples.
        shuffle: Whether each epoch has its own order; if not, every epoch has the order of the data.
        clip_norm: Maximum 2-norm of a gradient.
        ema_decay: If given, also keep a moving average of the parameters: e ← decay e + (1 − decay) θ after every step,
            starting from e = θ.
        compute_dtype: Compute the loss in this dtype, with master weights in the dtype of `params`; see
            `gradient_update`.
        mesh: Spread each batch over this mesh's axis "data"; see `device_mesh`. In a run of several processes, all of
            them pass the same arguments.
        param_specs: A PartitionSpec for each parameter, as `shard_wide_layers` returns them; by default the parameters
            are replicated on every device.
        evaluate: `evaluate(params, state)` returns a dict of scalars. It is called after every epoch, with the averaged
            parameters if `ema_decay` is given, and its values go into the history. It is not compiled here and must not
            keep references to its arguments.
        callback: Called after every epoch with an `EpochReport`; training ends there if it returns True. After a killed
            run is resumed, it may be called again for an epoch that it has already seen.
        checkpoints: Where and when to write checkpoints, and whether to resume from one; see `Checkpoints`.
        stop: Asked after every epoch and between dispatches whether to stop here, for a reason outside of training; see
            `stop_on_signals`. If so, a checkpoint is written, from which the run can be resumed as if it had not
            stopped. If there are several processes, all stop as soon as one of them is asked to.

    Returns:
        The final parameters and everything else that training produced; see `FitResult`.

    Raises:
        ConfigurationError: The arguments are inconsistent or invalid, or a loss cannot be called as above.
        DataSetError: The data have no common length, or do not fill a single batch.
        DivergedError: The loss or a gradient became NaN or infinite. The error holds the results up to that step.
        TrainingStoppedError: `stop` said so. The error holds the results up to that step.
        ProcessesError: Another process of the run was lost.
        ResumeError: The checkpoint to resume from is damaged or belongs to another run.
        OutputError: Checkpoints cannot be written; an `UnsavedError` if there are results, which it holds; a
            `FolderInUseError` if another run writes them there.
        MissingDependencyError: Checkpoints were requested without orbax, or a stream without grain.

    Example:
        >>> import jax, jax.numpy as jnp, optax, mathdnn_jax as mj
        >>> x = jnp.linspace(-1, 1, 32)
        >>> def loss(params, batch, key):
        ...     x, y = batch
        ...     return jnp.mean((params["slope"] * x + params["offset"] - y) ** 2)
        >>> start = {"slope": jnp.zeros(()), "offset": jnp.zeros(())}
        >>> result = mj.fit(
        ...     loss, start, (x, 2 * x + 1), optax.adam(0.1), epochs=100, batch_size=8, key=jax.random.key(0)
        ... )
        >>> round(float(result.params["slope"]), 2), round(float(result.params["offset"]), 2)
        (2.0, 1.0)
        >>> result.history.epochs["loss"].shape
        (100,)
    """
    update = _update(loss, optimizer, state is not None, clip_norm, compute_dtype)
    if epochs < 1:
        raise ConfigurationError(f"given epochs={epochs}: training takes at least one epoch")
    if ema_decay is not None and not 0 <= ema_decay < 1:
        raise ConfigurationError(f"given ema_decay={ema_decay}: the decay of an average must lie in [0, 1)")
    examples = len(data.source) if isinstance(data, Stream) else count_examples(data)
    batching = plan_batches(examples, batch_size, remainder, shuffle)
    check_loss(loss, has_state=state is not None, masked=batching.masked)
    if epochs * batching.per_epoch > MOST_STEPS:
        raise ConfigurationError(
            f"given epochs={epochs} of {batching.per_epoch} steps: a run has at most {MOST_STEPS} steps"
        )
    run = Run(update, batching, epochs, ema_decay, mesh)
    return train(run, Start(params, state, param_specs, key), data, Observers(evaluate, callback, checkpoints, stop))


def _update(
    loss: Loss | Mapping[str, Loss] | Update,
    optimizer: optax.GradientTransformation | Mapping[str, optax.GradientTransformation] | None,
    has_state: bool,
    clip_norm: float | None,
    compute_dtype: Any,
) -> Update:
    if isinstance(loss, Update):
        if optimizer is not None or clip_norm is not None or compute_dtype is not None:
            raise ConfigurationError(
                "an Update contains its own optimiser, clipping and dtype: leave optimizer, clip_norm and "
                "compute_dtype None"
            )
        return loss
    if isinstance(loss, Mapping):
        if not isinstance(optimizer, Mapping) or set(optimizer) != set(loss):
            raise ConfigurationError(f"players {sorted(loss)} need a dict with one optimiser each")
        players = tuple((name, loss[name], optimizer[name]) for name in loss)
        return alternating_update(players, has_state=has_state, clip_norm=clip_norm, compute_dtype=compute_dtype)
    if not isinstance(optimizer, optax.GradientTransformation):
        raise ConfigurationError(f"given {type(optimizer).__name__} as the optimizer: expected an optax optimiser")
    try:
        hash(loss)
    except TypeError:
        # The loss may be a method of an unhashable module; a partial is hashed by its identity.
        loss = functools.partial(loss)
    return gradient_update(loss, optimizer, has_state=has_state, clip_norm=clip_norm, compute_dtype=compute_dtype)
