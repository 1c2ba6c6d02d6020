"""A NICE in both frameworks with identical weights, and images for it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import torch

from benchmarks.case import Settings
from benchmarks.frameworks import on_jax, on_torch
from benchmarks.workloads.networks import SEED, draw
from mathdnn_jax.bijectors import Params
from mathdnn_jax.data import unit_interval
from mathdnn_jax.flows import Flow
from parity import convert, restore
from parity.models import Config, find_model
from parity.reference import NICE

SIZES: Config = {"dim": 784, "width": 1000, "depth": 5, "couplings": 4}
QUICK: Config = {"dim": 6, "width": 8, "depth": 2, "couplings": 2}
TRUTH_BATCH = 1000


class Twins(NamedTuple):
    """One network in both frameworks, on the device, in the dtype of the settings' precision."""

    config: Config
    flow: Flow
    params: Params
    module: NICE


def prepare(settings: Settings) -> Twins:
    """Load the network of the checkpoint, or draw one of the usual sizes, as `networks.draw` does.

    Raises:
        CheckpointError, ConversionError: as `parity.restore` does.
    """
    if settings.checkpoint is None:
        config = QUICK if settings.quick else SIZES
        # Without the factor of `draw` the shifts would be almost zero, and log p would hardly depend on the network.
        state = draw(lambda: NICE(**config))
        flow, params = find_model("nice").build(**config), convert(state)
    else:
        flow, params, kept, config = restore(Path(settings.checkpoint))
        state = dict(kept)
    module = on_torch.module_with(lambda: NICE(**config), state).to(on_torch.DTYPES[settings.precision])
    return Twins(config, flow, on_jax.cast(params, settings.precision), module)


def images(count: int, dim: int) -> np.ndarray:
    """Draw uniform 8-bit grey values, scaled to [0, 1], float32 (count, dim)."""
    return unit_interval(np.random.default_rng(SEED).integers(0, 256, (count, dim), dtype=np.uint8))


def on_both(array: np.ndarray, precision: str) -> tuple[jax.Array, torch.Tensor]:
    """Copy an array to the device in either framework, in the dtype of the precision."""
    return on_jax.cast(array, precision), on_torch.on_device(array).to(on_torch.DTYPES[precision])


def in_float64(module: NICE, events: torch.Tensor, inverse: bool = False) -> np.ndarray:
    """Compute PyTorch's log p of the events in float64, or the events of given latents."""
    exact = copy.deepcopy(module).double()
    with torch.inference_mode():
        parts = events.double().split(TRUTH_BATCH)
        done = [exact.inverse(part)[0] if inverse else exact.log_prob(part) for part in parts]
    values: np.ndarray = torch.cat(done).cpu().numpy()
    return values


def products(params: Params) -> int:
    """Count the FLOPs of one event's matrix products, 2 · inputs · outputs of each dense layer; no biases, no ReLU."""
    return sum(2 * int(leaf.size) for leaf in jax.tree.leaves(params) if leaf.ndim == 2)
