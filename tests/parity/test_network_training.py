"""smallNet trained in JAX and in PyTorch from the same start on the same batches."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import parity
from mathdnn_jax import small_net

from .network_states import CONFIGS, images, network_state

torch = pytest.importorskip("torch", reason="compares with PyTorch")

STEPS, BATCH, RATE = 50, 12, 3e-3
CONFIG = CONFIGS["small-net"]
Trained = tuple[np.ndarray, list[dict[str, np.ndarray]]]


def by_jax(state: dict[str, np.ndarray], x: np.ndarray, labels: np.ndarray) -> Trained:
    network = small_net(**{name: CONFIG[name] for name in ("channels", "hidden", "classes")})
    variables = parity.convert(state, "small-net")
    optimizer = optax.adam(RATE)

    def loss(params: Any, statistics: Any, x: jax.Array, labels: jax.Array) -> tuple[jax.Array, Any]:
        logits, updates = network.apply(
            {"params": params, "batch_stats": statistics}, x, train=True, mutable=["batch_stats"]
        )
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), updates["batch_stats"]

    @jax.jit
    def step(variables: Any, memory: Any, x: jax.Array, labels: jax.Array) -> tuple[Any, Any, jax.Array]:
        differentiate = jax.value_and_grad(loss, has_aux=True)
        (value, statistics), gradients = differentiate(variables["params"], variables["batch_stats"], x, labels)
        changes, memory = optimizer.update(gradients, memory)
        params = optax.apply_updates(variables["params"], changes)
        return {"params": params, "batch_stats": statistics}, memory, value

    memory = optimizer.init(variables["params"])
    losses, states = [], []
    for images_, labels_ in zip(x, labels, strict=True):
        variables, memory, value = step(variables, memory, jnp.asarray(images_), jnp.asarray(labels_, jnp.int32))
        losses.append(float(value))
        states.append(parity.export(variables, "small-net"))
    return np.array(losses), states


def by_torch(state: dict[str, np.ndarray], x: np.ndarray, labels: np.ndarray) -> Trained:
    from parity.reference import SmallNetTrain

    module = SmallNetTrain(**CONFIG).double()
    module.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()}, strict=True)
    optimizer = torch.optim.Adam(module.parameters(), lr=RATE)
    losses, states = [], []
    for images_, labels_ in zip(x, labels, strict=True):
        events = torch.from_numpy(np.ascontiguousarray(np.moveaxis(images_, -1, 1)))
        loss = torch.nn.functional.cross_entropy(module(events), torch.from_numpy(labels_))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        states.append({name: tensor.numpy().copy() for name, tensor in module.state_dict().items()})
    return np.array(losses), states


@pytest.fixture(scope="module")
def trained() -> tuple[Trained, Trained]:
    rng = np.random.default_rng(0)
    state = network_state("small-net", dtype=np.float64)
    x = images("small-net", STEPS * BATCH).reshape(STEPS, BATCH, 5, 5, 2)
    labels = rng.integers(0, CONFIG["classes"], (STEPS, BATCH))
    # optax promotes its own counters.
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        mine = by_jax(state, x, labels)
    return mine, by_torch(state, x, labels)


def test_losses_follow_pytorchs_for_50_steps(trained: tuple[Trained, Trained]) -> None:
    (mine, _), (theirs, _) = trained
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-9)
    assert theirs[0] != theirs[-1]


def test_weights_and_running_statistics_follow_pytorchs(trained: tuple[Trained, Trained]) -> None:
    (_, mine), (_, theirs) = trained
    for step, (a, b) in enumerate(zip(mine, theirs, strict=True)):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_allclose(a[name], b[name], rtol=0, atol=1e-9, err_msg=f"{name} after step {step}")


def test_the_running_statistics_move_and_batches_are_counted(trained: tuple[Trained, Trained]) -> None:
    start = network_state("small-net", dtype=np.float64)
    (_, mine), _ = trained
    for module in ("conv1.1", "conv2.1", "fc1.1"):
        for name in ("running_mean", "running_var", "weight"):
            assert np.abs(mine[-1][f"{module}.{name}"] - start[f"{module}.{name}"]).max() > 1e-2
        count = mine[-1][f"{module}.num_batches_tracked"]
        assert count.dtype == np.int64
        assert int(count) == int(start[f"{module}.num_batches_tracked"]) + STEPS
