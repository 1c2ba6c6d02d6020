"""`fit` beside the plain loop in PyTorch: a VAE with the same noise, and a network with batch norms."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import parity
from mathdnn_jax import small_net
from mathdnn_jax.training import fit
from parity.models.registry import find_model

from .generative_states import CONFIGS as GENERATIVE
from .generative_states import state_of, twin
from .network_states import CONFIGS, images, network_state

torch = pytest.importorskip("torch", reason="compares with PyTorch")

# Many small programs, each run a few times.
pytestmark = pytest.mark.usefixtures("quick_compilation")

STEPS, BATCH, RATE = 200, 12, 3e-3
VAE_CONFIG = {**GENERATIVE["vae"], "prior": "trainable"}
NET_CONFIG = CONFIGS["small-net"]
DTYPES = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def follow(module: Any, losses_of_batches: Any) -> tuple[list[float], dict[str, np.ndarray]]:
    """The plain loop of every PyTorch tutorial over an iterator of losses, each taken once the step before is made."""
    optimizer = torch.optim.Adam(module.parameters(), lr=RATE)
    losses = []
    for loss in losses_of_batches:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}


def by_fit(loss: Any, params: Any, data: Any, state: Any = None) -> Any:
    return fit(
        loss,
        params,
        data,
        optax.adam(RATE),
        epochs=1,
        batch_size=BATCH,
        key=jax.random.key(0),
        state=state,
        shuffle=False,
    )


def compare(dtype: type, mine: Any, theirs: list[float]) -> None:
    if dtype == np.float64:
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-9)
    else:
        # Adam divides by root mean squares: where a gradient is all rounding, two correct programs step differently.
        np.testing.assert_allclose(mine[:5], theirs[:5], rtol=1e-5)
        np.testing.assert_allclose(mine, theirs, rtol=5e-3)


@DTYPES
def test_a_vae_follows_torch_for_200_steps(dtype: type) -> None:
    # Two kinds of events, so that there is something to learn.
    kinds = np.random.default_rng(0).random((2, VAE_CONFIG["dim"]))
    x: np.ndarray = np.asarray(kinds[np.random.default_rng(1).integers(0, 2, STEPS * BATCH)] > 0.5, dtype)
    module = twin("vae", config=VAE_CONFIG)
    initial: dict[str, np.ndarray] = {name: array.astype(dtype) for name, array in state_of(module).items()}
    module.to(torch.float64 if dtype == np.float64 else torch.float32)
    model = find_model("vae").build(**VAE_CONFIG)
    counts = np.repeat(np.arange(STEPS, dtype=np.int32), BATCH)

    with jax.enable_x64(dtype == np.float64):

        def key_of(count: Any) -> jax.Array:
            return jax.random.fold_in(jax.random.key(5), count)

        def loss(params: Any, batch: Any, key: jax.Array) -> jax.Array:
            del key
            bound: jax.Array = model.elbo(params, batch["x"], key_of(batch["count"][0])).mean()
            return -bound

        draw = jax.jit(lambda count: jax.random.normal(key_of(count), (BATCH, VAE_CONFIG["latent_dim"]), dtype))
        noise = np.stack([np.asarray(draw(count)) for count in np.arange(STEPS, dtype=np.int32)])
        result = by_fit(loss, parity.convert(initial, "vae"), {"x": jnp.asarray(x), "count": jnp.asarray(counts)})
        weights = parity.export(result.params, "vae")

    batches = zip(torch.from_numpy(x).split(BATCH), torch.from_numpy(noise.copy()), strict=True)
    losses, trained = follow(module, (-module.elbo(events, draws).mean() for events, draws in batches))
    assert losses[-1] < losses[0] - 1
    compare(dtype, result.history.loss, losses)
    if dtype == np.float64:
        for name, array in trained.items():
            np.testing.assert_allclose(weights[name], array, rtol=0, atol=1e-9, err_msg=name)


@DTYPES
def test_a_network_with_batch_norms_follows_torch_for_200_steps(dtype: type) -> None:
    from parity.reference import SmallNetTrain

    initial = network_state("small-net", dtype=dtype)
    x: np.ndarray = images("small-net", STEPS * BATCH).astype(dtype)
    # What is learnt is which channel is the brighter one on the left.
    labels = (x[:, :, :2, 0].mean((1, 2)) > x[:, :, :2, 1].mean((1, 2))).astype(np.int64)
    network = small_net(**{name: NET_CONFIG[name] for name in ("channels", "hidden", "classes")})

    with jax.enable_x64(dtype == np.float64):

        def loss(params: Any, state: Any, batch: Any, key: jax.Array) -> Any:
            del key
            variables = {"params": params, "batch_stats": state}
            logits, updates = network.apply(variables, batch["x"], train=True, mutable=["batch_stats"])
            value = optax.softmax_cross_entropy_with_integer_labels(logits, batch["labels"]).mean()
            return value, (updates["batch_stats"], {})

        variables = parity.convert(initial, "small-net")
        data = {"x": jnp.asarray(x), "labels": jnp.asarray(labels, jnp.int32)}
        result = by_fit(loss, variables["params"], data, variables["batch_stats"])
        weights = parity.export({"params": result.params, "batch_stats": result.state}, "small-net")

    module = SmallNetTrain(**NET_CONFIG).to(torch.float64 if dtype == np.float64 else torch.float32)
    module.load_state_dict({name: torch.from_numpy(array) for name, array in initial.items()}, strict=True)
    events = torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1)))
    batches = zip(events.split(BATCH), torch.from_numpy(labels).split(BATCH), strict=True)
    losses, trained = follow(module, (torch.nn.functional.cross_entropy(module(a), b) for a, b in batches))
    assert np.mean(losses[-20:]) < np.mean(losses[:20])
    compare(dtype, result.history.loss, losses)
    if dtype == np.float64:
        for name, array in trained.items():
            np.testing.assert_allclose(weights[name], array, rtol=0, atol=1e-9, err_msg=name)
