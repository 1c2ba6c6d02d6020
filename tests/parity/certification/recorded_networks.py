"""Networks whose PyTorch side is recorded by one Python, and which another one certifies without PyTorch.

`python -m tests.parity.certification.recorded_networks FOLDER` writes the recordings.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

import parity
from parity.models import find_model
from parity.rules.table import RuleTable

from ..network_states import CONFIGS, images, network_state


class Recorded(NamedTuple):
    """`torch` builds the PyTorch module, `apply` is the JAX network, `rules` are None if they are to be inferred."""

    torch: Callable[[], Any]
    apply: Callable[..., Any]
    shapes: Any
    inputs: Any
    rules: RuleTable | None = None


def _normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


class Convolutions(nn.Module):
    """Strides, groups, dilation, a transposed convolution, batch and group norm, pooling, and a flattened image."""

    @nn.compact
    def __call__(self, x: jax.Array) -> dict[str, jax.Array]:
        x = nn.Conv(6, (3, 3), strides=2, padding=1, name="first")(x)
        x = nn.relu(nn.BatchNorm(use_running_average=True, epsilon=1e-5, name="norm")(x))
        x = nn.Conv(6, (3, 3), feature_group_count=2, kernel_dilation=2, padding=2, name="grouped")(x)
        x = nn.gelu(nn.GroupNorm(3, epsilon=1e-5, name="group_norm")(x), approximate=False)
        image = nn.ConvTranspose(4, (2, 2), strides=(2, 2), padding="VALID", transpose_kernel=True, name="up")(x)
        x = nn.max_pool(nn.tanh(image), (2, 2), (2, 2))
        return {"image": image, "logits": nn.Dense(3, name="last")(x.reshape(len(x), -1))}


class Words(nn.Module):
    """An embedding, layer norm, and dense layers, for whole numbers and a scale beside them."""

    @nn.compact
    def __call__(self, words: jax.Array, scale: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = nn.Embed(7, 6, name="embedding")(words) * scale[:, None, None]
        hidden = nn.Dense(10, name="wide")(nn.LayerNorm(epsilon=1e-5, name="norm")(x))
        return hidden.mean(1), nn.Dense(6, name="narrow")(nn.silu(hidden)) + x


def _convolutions() -> Any:
    import torch
    from torch import nn as tn

    class Module(tn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm = tn.Conv2d(2, 6, 3, stride=2, padding=1), tn.BatchNorm2d(6)
            self.grouped = tn.Conv2d(6, 6, 3, padding=2, groups=2, dilation=2)
            self.group_norm, self.up = tn.GroupNorm(3, 6), tn.ConvTranspose2d(6, 4, 2, stride=2)
            self.last = tn.Linear(4 * 4 * 4, 3)

        def forward(self, x: Any) -> dict[str, Any]:
            x = torch.relu(self.norm(self.first(x)))
            image = self.up(tn.functional.gelu(self.group_norm(self.grouped(x))))
            return {"image": image, "logits": self.last(tn.functional.max_pool2d(torch.tanh(image), 2).flatten(1))}

    return _with_random_numbers(Module())


def _words() -> Any:
    from torch import nn as tn

    class Module(tn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.norm = tn.Embedding(7, 6), tn.LayerNorm(6)
            self.wide, self.narrow = tn.Linear(6, 10), tn.Linear(10, 6)

        def forward(self, words: Any, scale: Any) -> tuple[Any, Any]:
            x = self.embedding(words) * scale[:, None, None]
            hidden = self.wide(self.norm(x))
            return hidden.mean(1), self.narrow(tn.functional.silu(hidden)) + x

    return _with_random_numbers(Module())


def _with_random_numbers(module: Any) -> Any:
    """All weights and statistics random, so that none hides behind its initial value."""
    import torch

    rng = np.random.default_rng(1)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                fan_in = max(1, tensor[0].numel()) if tensor.ndim > 1 else 1
                values = rng.normal(size=tuple(tensor.shape)) / np.sqrt(fan_in)
                tensor.copy_(torch.from_numpy(np.abs(values) + 0.5 if name.endswith("running_var") else values))
    return module


def _by_name(name: str) -> Recorded:
    """A network of the course: its twin, and the layer list that converts by its own table."""
    model, config = find_model(name), CONFIGS[name]

    def twin() -> Any:
        import torch

        module = model.twin(**config)
        module.load_state_dict({key: torch.from_numpy(array) for key, array in network_state(name).items()})
        return module

    x = images(name, 4).astype(np.float32)
    network = model.build(**config)
    shapes = jax.eval_shape(network.init, jax.random.key(0), x)
    return Recorded(twin, network.apply, shapes, x, rules=model.table(config))


def _inferred(build: Callable[[], Any], module: nn.Module, inputs: Any) -> Recorded:
    arguments = inputs if isinstance(inputs, tuple) else (inputs,)
    shapes = jax.eval_shape(module.init, jax.random.key(0), *arguments)
    return Recorded(build, module.apply, shapes, inputs)


def _of_words() -> Recorded:
    words = np.random.default_rng(2).integers(0, 7, (5, 4)).astype(np.int32)
    return _inferred(_words, Words(), (words, np.abs(_normal(5))))


NETWORKS: dict[str, Callable[[], Recorded]] = {
    "convolutions": lambda: _inferred(_convolutions, Convolutions(), _normal(5, 8, 8, 2)),
    "words": _of_words,
    "small-net": lambda: _by_name("small-net"),
    "small-net-folded": lambda: _by_name("small-net-folded"),
    "net2": lambda: _by_name("net2"),
    "conv-relu-sign-bias": lambda: _by_name("conv-relu-sign-bias"),
}
"""The networks by the names of their recordings."""


def write_recordings(folder: Path) -> list[Path]:
    """Record every network into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, build in NETWORKS.items():
        network = build()
        written.append(parity.record(network.torch(), network.inputs, folder / f"{name}.npz"))
    return written


if __name__ == "__main__":
    print(*write_recordings(Path(sys.argv[1])), sep="\n")
