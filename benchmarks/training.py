"""Training: `mathdnn_jax.training.fit` beside a Python loop over a jitted step, and beside PyTorch eager."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from jax.sharding import Mesh
from torch import nn

from benchmarks import on_jax, on_torch
from benchmarks.errors import OutputsDifferError
from benchmarks.machine import describe_machine
from benchmarks.timing import interleaved, ratios, spread, timed
from mathdnn_jax.flows import nice
from mathdnn_jax.nets import MLP
from mathdnn_jax.training import device_mesh, fit
from parity import convert
from parity.reference import NICE

RATE = 1e-3
BATCHES = {"autoencoder": 100, "nice": 128}
WIDTHS = (784, 256, 128, 32, 128, 256, 784)
AGREE = 1e-3
"""How far the losses of the first steps of two float32 programs may be apart, relative to their size."""


class Work(NamedTuple):
    """A model to train in both frameworks: the same weights, the same batches in the same order."""

    params: Any
    loss: Callable[..., jax.Array]
    module: nn.Module
    torch_loss: Callable[[nn.Module, torch.Tensor], torch.Tensor]


def autoencoder() -> Work:
    """The seed's autoencoder (002 P1): ReLU also on the code, sigmoid out, mean squared error."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(WIDTHS):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    module = nn.Sequential(*layers[:-1], nn.Sigmoid())
    linear = [layer for layer in module if isinstance(layer, nn.Linear)]
    params = {
        f"dense_{k}": {"kernel": layer.weight.detach().numpy().T.copy(), "bias": layer.bias.detach().numpy().copy()}
        for k, layer in enumerate(linear)
    }
    network = MLP(WIDTHS[1:])

    def loss(params: Any, batch: jax.Array, key: jax.Array) -> jax.Array:
        del key
        output: Any = network.apply({"params": params}, batch)
        return jnp.mean((jax.nn.sigmoid(output) - batch) ** 2)

    return Work(params, loss, module, lambda module, batch: nn.functional.mse_loss(module(batch), batch))


def nice_flow() -> Work:
    """The seed's NICE (000 Q3), by maximum likelihood."""
    twin, flow = NICE(), nice()
    params = convert({name: tensor.numpy().copy() for name, tensor in twin.state_dict().items()})

    def loss(params: Any, batch: jax.Array, key: jax.Array) -> jax.Array:
        del key
        return -flow.log_prob(params, batch).mean()

    return Work(params, loss, twin, lambda _, batch: -twin.log_prob(batch).mean())


WORKLOADS: dict[str, Callable[[], Work]] = {"autoencoder": autoencoder, "nice": nice_flow}


def seconds_of_fit(workload: str, batch: int, steps: int, repeat: int, devices: int) -> list[float]:
    """Seconds of `repeat` runs of `fit` on a mesh of so many devices, after one that compiles.

    Raises:
        ConfigurationError: there are not as many devices.
    """
    torch.manual_seed(0)
    work = WORKLOADS[workload]()
    data = np.random.default_rng(0).random((steps * batch, WIDTHS[0]), dtype=np.float32)
    train = _by_fit(work, on_jax.on_device(data), batch, device_mesh(data=devices))
    train()
    return [timed(train)[1] for _ in range(repeat)]


def measure(workload: str, batch: int, steps: int, repeat: int) -> dict[str, Any]:
    """Seconds of `steps` steps of Adam, by `repeat` interleaved triples of `fit`, a Python loop and PyTorch eager.

    Every contender trains from the same weights on the same batches, in memory beforehand. `fit` is one dispatch,
    with its own setting up; the loop dispatches a jitted step that donates its state, and waits at the end alone.

    Raises:
        OutputsDifferError: their first losses differ; then nothing was repeated.
    """
    torch.manual_seed(0)
    with on_jax.highest_precision(), on_torch.highest_precision():
        work = WORKLOADS[workload]()
        data = np.random.default_rng(0).random((steps * batch, WIDTHS[0]), dtype=np.float32)
        contenders = {
            "fit": _by_fit(work, on_jax.on_device(data), batch),
            "loop": _by_loop(work, on_jax.on_device(data), batch),
            "torch": _by_torch(work, torch.from_numpy(data), batch),
        }
        first = {name: timed(contender) for name, contender in contenders.items()}
        _check({name: losses for name, (losses, _) in first.items()})
        seconds = interleaved(contenders, repeat)
    return {
        "workload": workload,
        "batch": batch,
        "steps": steps,
        "repeat": repeat,
        "steps_per_s": {name: steps / spread(times).median for name, times in seconds.items()},
        "first_call_s": {name: taken for name, (_, taken) in first.items()},
        "loop_over_fit": spread(ratios(seconds["loop"], seconds["fit"]))._asdict(),
        "torch_over_fit": spread(ratios(seconds["torch"], seconds["fit"]))._asdict(),
        "machine": describe_machine(),
    }


def _by_fit(work: Work, data: jax.Array, batch: int, mesh: Mesh | None = None) -> Callable[[], np.ndarray]:
    optimizer = optax.adam(RATE)

    def train() -> np.ndarray:
        result = fit(
            work.loss,
            work.params,
            data,
            optimizer,
            epochs=1,
            batch_size=batch,
            key=jax.random.key(0),
            shuffle=False,
            mesh=mesh,
        )
        jax.block_until_ready(result.params)
        return result.history.loss

    return train


def _by_loop(work: Work, data: jax.Array, batch: int) -> Callable[[], np.ndarray]:
    optimizer = optax.adam(RATE)

    def step(params: Any, state: Any, rows: jax.Array) -> tuple[Any, Any, jax.Array]:
        value, gradient = jax.value_and_grad(work.loss)(params, rows, jax.random.key(0))
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    compiled = jax.jit(step, donate_argnums=(0, 1))
    batches = [data[start : start + batch] for start in range(0, len(data), batch)]

    def train() -> np.ndarray:
        params = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), work.params)
        state, losses = optimizer.init(params), []
        for rows in batches:
            params, state, value = compiled(params, state, rows)
            losses.append(value)
        jax.block_until_ready(params)
        return np.asarray(losses)

    return train


def _by_torch(work: Work, data: torch.Tensor, batch: int) -> Callable[[], np.ndarray]:
    state = {name: tensor.clone() for name, tensor in work.module.state_dict().items()}

    def train() -> np.ndarray:
        work.module.load_state_dict(state)
        optimizer = torch.optim.Adam(work.module.parameters(), lr=RATE)
        losses = []
        for rows in data.split(batch):
            value = work.torch_loss(work.module, rows)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            losses.append(value.detach())
        return torch.stack(losses).numpy()

    return train


def _check(losses: dict[str, np.ndarray]) -> None:
    expected = losses["torch"][:3]
    for name, values in losses.items():
        worst = float(np.max(np.abs(values[:3] - expected) / np.abs(expected)))
        if not worst <= AGREE:
            raise OutputsDifferError(f"the first losses of {name} differ from PyTorch's by {worst:.2g}, relatively")
