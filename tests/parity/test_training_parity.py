"""The same start, the same batches, the same optimiser: PyTorch's losses, step by step."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import parity
from mathdnn_jax import nice
from mathdnn_jax.training import fit

from .twins import State, small_state

torch = pytest.importorskip("torch", reason="compares with PyTorch")

# Many small programs, each run a few times.
pytestmark = pytest.mark.usefixtures("quick_compilation")

CONFIG = {"dim": 20, "width": 30, "depth": 3, "couplings": 4}
STEPS, BATCH, RATE = 200, 16, 1e-3


@pytest.fixture(scope="module")
def events() -> np.ndarray:
    # Correlated, so that there is something to learn.
    rng = np.random.default_rng(7)
    return np.asarray(rng.normal(size=(STEPS * BATCH, 20)) @ (rng.normal(size=(20, 20)) / 3))


def by_torch(state: State, events: np.ndarray) -> tuple[list[float], State]:
    """The plain loop of every PyTorch tutorial."""
    from parity.reference import NICE

    twin = NICE(**CONFIG).to(torch.float64 if events.dtype == np.float64 else torch.float32)
    twin.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in state.items()})
    optimizer = torch.optim.Adam(twin.parameters(), lr=RATE)
    losses = []
    for batch in torch.from_numpy(events).split(BATCH):
        loss = -twin.log_prob(batch).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, {name: tensor.numpy() for name, tensor in twin.state_dict().items()}


def by_fit(state: State, events: np.ndarray) -> Any:
    flow = nice(**CONFIG)
    return fit(
        lambda params, batch, key: -flow.log_prob(params, batch).mean(),
        parity.convert(state),
        jnp.asarray(events),
        optax.adam(RATE),
        epochs=1,
        batch_size=BATCH,
        key=jax.random.key(0),
        shuffle=False,
    )


def start(dtype: type) -> State:
    state = small_state(3, dtype, CONFIG)
    # As PyTorch's own start is: a network of the scaling that the test's random one has diverges in float32.
    return {name: array * (0 if name == "scaling.scale" else 0.5) for name, array in state.items()}


def test_nice_follows_torch_for_200_steps_in_float64(events: np.ndarray) -> None:
    state = start(np.float64)
    losses, trained = by_torch(state, events)
    with jax.enable_x64(True):
        result = by_fit(state, events)
        np.testing.assert_allclose(result.history.loss, losses, rtol=0, atol=1e-9)
        weights = parity.export(result.params)
    assert losses[-1] < losses[0] - 1
    for name, array in trained.items():
        np.testing.assert_allclose(weights[name], array, rtol=0, atol=1e-9, err_msg=name)


def test_nice_follows_torch_in_float32_as_far_as_float32_goes(events: np.ndarray) -> None:
    state = start(np.float32)
    losses, _ = by_torch(state, events.astype(np.float32))
    history = by_fit(state, events.astype(np.float32)).history.loss
    # Adam divides by root mean squares: where a gradient is all rounding, two correct programs step differently.
    np.testing.assert_allclose(history[:5], losses[:5], rtol=1e-5)
    np.testing.assert_allclose(history, losses, rtol=5e-3)
