"""A NICE in both frameworks with the very same weights, and images for it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import torch

from benchmarks.frameworks import on_jax, on_torch
from benchmarks.harness.workload import Settings
from mathdnn_jax.bijectors import Params
from mathdnn_jax.data import unit_interval
from mathdnn_jax.flows import Flow
from parity import convert, restore
from parity.models import Config, find_model
from parity.reference import NICE

SEED = 0
GAIN = np.float32(6**0.5)
"""On PyTorch's initial kernels: it makes them He's, of which a layer's outputs are as large as its inputs.

As they are drawn, a layer with ReLU shrinks its inputs 2.4 times, the shifts come to nothing, and log p would be the
same whatever the network computed.
"""
SIZES: Config = {"dim": 784, "width": 1000, "depth": 5, "couplings": 4}
QUICK: Config = {"dim": 6, "width": 8, "depth": 2, "couplings": 2}
TRUTH_BATCH = 1000


class Model(NamedTuple):
    """One network in both frameworks, on the device, in the dtype of the settings' precision."""

    config: Config
    flow: Flow
    params: Params
    module: NICE


def prepare(settings: Settings) -> Model:
    """The checkpoint's network, or one drawn for the usual sizes: PyTorch's initialisation times `GAIN`.

    Raises:
        CheckpointError, ConversionError: as `parity.restore` does.
    """
    if settings.checkpoint is None:
        config = QUICK if settings.quick else SIZES
        drawn = on_torch.draw_state(lambda: NICE(**config), SEED)
        state = {name: array * GAIN if name.endswith(".weight") else array for name, array in drawn.items()}
        flow, params = find_model("nice").build(**config), convert(state)
    else:
        flow, params, kept, config = restore(Path(settings.checkpoint))
        state = dict(kept)
    module = on_torch.module_with(lambda: NICE(**config), state).to(on_torch.DTYPES[settings.precision])
    return Model(config, flow, on_jax.cast(params, settings.precision), module)


def images(count: int, dim: int) -> np.ndarray:
    """Uniform grey values of 8 bits on [0, 1], float32 (count, dim)."""
    return unit_interval(np.random.default_rng(SEED).integers(0, 256, (count, dim), dtype=np.uint8))


def on_both(array: np.ndarray, precision: str) -> tuple[jax.Array, torch.Tensor]:
    """The array on the device in either framework, in the dtype of the precision."""
    return on_jax.cast(array, precision), on_torch.on_device(array).to(on_torch.DTYPES[precision])


def in_float64(module: NICE, events: torch.Tensor, inverse: bool = False) -> np.ndarray:
    """PyTorch's log p of the events, or the events that latents come from, in float64."""
    exact = copy.deepcopy(module).double()
    with torch.inference_mode():
        parts = events.double().split(TRUTH_BATCH)
        done = [exact.inverse(part)[0] if inverse else exact.log_prob(part) for part in parts]
    values: np.ndarray = torch.cat(done).cpu().numpy()
    return values


def products(params: Params) -> int:
    """2 · inputs · outputs of each dense layer: FLOPs of an event's matrix products, biases and ReLU not counted."""
    return sum(2 * int(leaf.size) for leaf in jax.tree.leaves(params) if leaf.ndim == 2)


def size(params: Params) -> int:
    """Bytes of all the parameters."""
    return sum(int(leaf.nbytes) for leaf in jax.tree.leaves(params))
