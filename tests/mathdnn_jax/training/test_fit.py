from __future__ import annotations

import inspect
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mathdnn_jax.training import EpochReport, FitResult, fit
from mathdnn_jax.training.batches import Remainder, epoch_rows, plan_batches

from .lines import (
    BATCH,
    DATA,
    EXAMPLES,
    KEY,
    OPTIMIZER,
    Tree,
    assert_close,
    assert_same,
    counting_loss,
    loss,
    masked_loss,
    noisy_loss,
    same,
    start,
)

SHUFFLE_KEY, STEP_KEY = jax.random.split(KEY)


def by_hand(optimizer: Any, epochs: int, size: int, remainder: Remainder | None = None) -> tuple[Tree, list[float]]:
    """A plain loop over batches, which computes what `fit` should compute."""
    batching = plan_batches(EXAMPLES, size, remainder, shuffle=True)
    params, losses = start(), []
    optimizer_state = optimizer.init(params)
    gradient = jax.jit(jax.value_and_grad(lambda params, batch: loss(params, batch, KEY)[0]))
    for epoch in range(epochs):
        for k, rows in enumerate(np.asarray(epoch_rows(batching, SHUFFLE_KEY, jnp.int32(epoch)))):
            rows = rows[: EXAMPLES - k * size] if remainder == "pad" else rows
            value, direction = gradient(params, {name: leaf[rows] for name, leaf in DATA.items()})
            with jax.numpy_dtype_promotion("standard"):
                updates, optimizer_state = optimizer.update(direction, optimizer_state, params)
            params = optax.apply_updates(params, updates)
            losses.append(float(value))
    return params, losses


def quick(**changes: Any) -> FitResult:
    arguments: dict[str, Any] = {"epochs": 3, "batch_size": BATCH, "key": KEY}
    arguments |= changes
    chosen = [arguments.pop(name, default) for name, default in
              (("loss", loss), ("params", start()), ("data", DATA), ("optimizer", OPTIMIZER))]  # fmt: skip
    return fit(*chosen, **arguments)


def test_fit_is_the_plain_loop() -> None:
    result = quick()
    params, losses = by_hand(OPTIMIZER, 3, BATCH)
    assert_close(result.params, params, 1e-5)
    np.testing.assert_allclose(result.history.loss, losses, rtol=1e-5)
    assert (result.step, result.epoch, result.stopped, result.ema, result.state) == (15, 3, False, None, None)
    np.testing.assert_allclose(result.history.epochs["loss"], np.reshape(losses, (3, 5)).mean(1), rtol=1e-5)
    assert result.history.metrics["absolute"].shape == (15,)
    np.testing.assert_array_equal(result.history.examples, np.full(15, BATCH))


def test_the_same_run_twice_is_bit_identical_however_it_is_dispatched() -> None:
    first = quick(epochs=4)
    assert_same(first, quick(epochs=4))
    watched = quick(epochs=4, callback=lambda _: None)
    assert_same(first, watched)
    assert not same(first.params, quick(epochs=4, key=jax.random.key(4)).params)


def test_a_raw_key_is_a_key() -> None:
    assert_same(quick().params, quick(key=jax.random.key_data(KEY)).params)


def test_the_callers_arguments_are_not_modified() -> None:
    params, state = start(), {"steps": jnp.int32(0), "mean": jnp.zeros(3)}
    data = jax.tree.map(jnp.asarray, DATA)
    quick(loss=counting_loss, params=params, state=state, data=data, ema_decay=0.5)
    assert_same(params, start())
    assert_same(state, {"steps": jnp.int32(0), "mean": jnp.zeros(3)})
    assert_same(data, DATA)


def test_what_training_returns_can_be_trained_on() -> None:
    first = quick(ema_decay=0.9)
    again = quick(params=first.params)
    assert again.history.loss[0] < first.history.loss[0] / 2
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(first[:4]))


@pytest.mark.parametrize("remainder", ["drop", "wrap"])
def test_a_last_batch_dropped_or_filled(remainder: Remainder) -> None:
    result = quick(batch_size=16, remainder=remainder)
    params, losses = by_hand(OPTIMIZER, 3, 16, remainder)
    assert len(losses) == (6 if remainder == "drop" else 9)
    assert_close(result.params, params, 1e-5)


def test_a_padded_batch_is_a_smaller_one() -> None:
    result = quick(loss=masked_loss, batch_size=16, remainder="pad")
    params, losses = by_hand(OPTIMIZER, 3, 16, "pad")
    assert_close(result.params, params, 1e-5)
    np.testing.assert_array_equal(result.history.examples, [16, 16, 8] * 3)
    weighted = np.average(np.reshape(losses, (3, 3)), axis=1, weights=[16, 16, 8])
    np.testing.assert_allclose(result.history.epochs["loss"], weighted, rtol=1e-5)


def test_without_shuffling_batches_are_slices() -> None:
    once = quick(epochs=1, shuffle=False)
    rows = jax.tree.map(lambda leaf: leaf[:BATCH], DATA)
    np.testing.assert_allclose(once.history.loss[0], loss(start(), rows, KEY)[0], rtol=1e-6)
    repeated = quick(epochs=2, shuffle=False, optimizer=optax.sgd(0.0))
    np.testing.assert_array_equal(repeated.history.loss[:5], repeated.history.loss[5:])


def test_every_step_has_a_key_of_its_own() -> None:
    ones = jax.tree.map(jnp.ones_like, start())
    result = quick(loss=noisy_loss, params=ones, epochs=2, shuffle=False, optimizer=optax.sgd(0.0))
    rows = jax.tree.map(lambda leaf: leaf[BATCH : 2 * BATCH], DATA)
    for step in (1, 6):
        expected = noisy_loss(ones, rows, jax.random.fold_in(STEP_KEY, step))
        np.testing.assert_allclose(result.history.loss[step], expected, rtol=1e-6)
    assert len(set(result.history.loss.tolist())) == 10


def test_mutable_state_goes_from_step_to_step() -> None:
    result = quick(loss=counting_loss, state={"steps": jnp.int32(0), "mean": jnp.zeros(3)}, shuffle=False)
    assert int(result.state["steps"]) == 15
    mean = np.zeros(3)
    for step in range(15):
        mean = 0.9 * mean + 0.1 * DATA["x"].reshape(5, BATCH, 3)[step % 5].mean(0)
    np.testing.assert_allclose(result.state["mean"], mean, rtol=1e-5)


def test_the_running_average_of_parameters() -> None:
    decay, trail = 0.8, []
    result = quick(ema_decay=decay, epochs=2, callback=lambda report: trail.append((report.params(), report.ema())))
    assert_same(trail[-1], (result.params, result.ema))
    steps = [quick(epochs=1, data=jax.tree.map(lambda leaf: leaf[:BATCH], DATA), shuffle=False, ema_decay=decay)]
    expected = jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, start(), steps[0].params)
    assert_close(steps[0].ema, expected, 1e-6)


def test_gradients_are_clipped_to_a_norm() -> None:
    once = {"epochs": 1, "data": jax.tree.map(lambda leaf: leaf[:BATCH], DATA)}
    result = quick(optimizer=optax.sgd(1.0), clip_norm=0.01, **once)
    distance = optax.tree.norm(jax.tree.map(jnp.subtract, result.params, start()))
    np.testing.assert_allclose(distance, 0.01, rtol=1e-5)
    # A gradient below the norm is let through as it is.
    assert_close(quick(optimizer=optax.sgd(0.01), clip_norm=1e6).params, quick(optimizer=optax.sgd(0.01)).params, 1e-6)


def test_a_schedule_counts_steps() -> None:
    schedule = optax.piecewise_constant_schedule(0.05, {5: 0.0})
    stopped = quick(optimizer=optax.sgd(schedule), epochs=3)
    assert_close(stopped.params, quick(optimizer=optax.sgd(0.05), epochs=1).params, 1e-6)


def test_low_precision_arithmetic_keeps_float32_weights() -> None:
    seen: list[Any] = []

    def watching(params: Tree, batch: Tree, key: jax.Array) -> Any:
        seen.append((params["w"].dtype.name, batch["x"].dtype.name))
        return loss(params, batch, key)

    result = quick(loss=watching, compute_dtype=jnp.bfloat16)
    assert set(seen) == {("bfloat16", "bfloat16")}
    assert {leaf.dtype for leaf in jax.tree.leaves((result.params, result.optimizer_state[0].mu))} == {np.dtype("f4")}
    assert result.history.loss.dtype == np.float32
    assert_close(result.params, quick().params, 0.02)
    assert not same(result.params, quick().params)


def test_float64_is_kept() -> None:
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), (start(), DATA))
        result = quick(params=wide[0], data=wide[1])
        assert {leaf.dtype for leaf in jax.tree.leaves(result.params)} == {np.dtype("f8")}
        assert result.history.loss.dtype == np.float64
    assert_close(result.params, quick().params, 1e-4)


def test_the_callback_is_called_and_can_stop_the_run() -> None:
    reports: list[EpochReport] = []

    def callback(report: EpochReport) -> bool:
        reports.append(report)
        return report.epoch == 2

    result = quick(epochs=9, callback=callback)
    assert [(r.epoch, r.epochs, r.step, r.examples) for r in reports] == [(1, 9, 5, 40), (2, 9, 10, 40)]
    assert (result.stopped, result.epoch, result.step, len(result.history.loss)) == (True, 2, 10, 10)
    assert_same(reports[-1].params(), result.params)
    assert reports[0].seconds > 0
    for k, report in enumerate(reports):
        assert report.metrics == {name: values[k] for name, values in result.history.epochs.items()}
    # What was kept of an epoch stays, though training went on.
    kept = quick(epochs=3, callback=lambda report: reports.append(report._replace(params=report.params())))
    assert_same(reports[2].params, quick(epochs=1).params)
    assert not same(reports[2].params, kept.params)


def test_evaluation_is_part_of_the_history() -> None:
    held_out = jax.tree.map(lambda leaf: leaf[:10], DATA)

    def evaluate(params: Tree, state: Tree) -> dict[str, Any]:
        return {"validation": loss(params, held_out, KEY)[0]}

    result = quick(evaluate=evaluate)
    assert result.history.epochs["validation"].shape == (3,)
    np.testing.assert_allclose(result.history.epochs["validation"][-1], evaluate(result.params, None)["validation"])
    averaged = quick(evaluate=evaluate, ema_decay=0.9)
    np.testing.assert_allclose(averaged.history.epochs["validation"][-1], evaluate(averaged.ema, None)["validation"])


def test_runs_with_the_same_loss_share_a_program() -> None:
    chex.clear_trace_counter()

    @chex.assert_max_traces(n=1)  # type: ignore[untyped-decorator]
    def traceable(params: Tree, batch: Tree, key: jax.Array) -> Any:
        return loss(params, batch, key)

    quick(loss=traceable)
    quick(loss=traceable, key=jax.random.key(9), params=jax.tree.map(lambda leaf: leaf + 1, start()))
    # Another size of batch is another program, and the counter sees it.
    with pytest.raises(AssertionError, match="is traced > 1 times"):
        quick(loss=traceable, batch_size=2 * BATCH, remainder="drop")


def test_every_argument_is_described() -> None:
    described = inspect.getdoc(fit) or ""
    assert [name for name in inspect.signature(fit).parameters if f"\n    {name}: " not in described] == []
