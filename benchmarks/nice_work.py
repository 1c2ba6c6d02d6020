"""Log p of images by NICE, as either framework does it with the very same weights."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import torch

from benchmarks import on_jax, on_torch
from benchmarks.compare import Contender
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
TRUTH_BATCH = 1000


class Work(NamedTuple):
    """One network in both frameworks, and events (N, dim) with their log p in float64 (N,)."""

    config: Config
    weights: str
    flow: Flow
    params: Params
    module: NICE
    events: np.ndarray
    truth: np.ndarray


def prepare(images: int, checkpoint: str | os.PathLike[str] | None, config: Config) -> Work:
    """The network on the device in both frameworks, uniform grey values of 8 bits, and their log p in float64.

    The weights are the checkpoint's, or drawn for the sizes in `config`: PyTorch's initialisation times `GAIN`.

    Raises:
        CheckpointError, ConversionError: as `parity.restore` does.
    """
    if checkpoint is None:
        drawn = on_torch.draw_state(lambda: NICE(**config), SEED)
        state = {name: array * GAIN if name.endswith(".weight") else array for name, array in drawn.items()}
        weights = f"drawn, seed {SEED}"
        flow, params = find_model("nice").build(**config), convert(state)
    else:
        flow, params, kept, config = restore(checkpoint)
        state, weights = dict(kept), Path(checkpoint).name
    module = on_torch.module_with(lambda: NICE(**config), state)
    grey = np.random.default_rng(SEED).integers(0, 256, (images, config["dim"]), dtype=np.uint8)
    events = unit_interval(grey)
    truth = by_torch(copy.deepcopy(module).double(), events.astype(np.float64), TRUTH_BATCH).output()
    return Work(config, weights, flow, jax.device_put(params), module, events, truth)


def by_jax(flow: Flow, params: Params, events: np.ndarray, batch: int) -> Contender:
    """Log p by JAX, compiled. Each batch is waited for before the next begins, as `mathdnn_jax.tasks.score` does.

    The last batch is smaller where `batch` does not divide the events, and is a second program.
    """
    log_prob = jax.jit(flow.log_prob)
    parts = [on_jax.on_device(part) for part in _split(events, batch)]

    def run(parts: Sequence[jax.Array]) -> list[jax.Array]:
        return [log_prob(params, part).block_until_ready() for part in parts]

    return Contender(
        first=lambda: run(parts[:1]),
        work=lambda: run(parts),
        output=lambda: np.concatenate([np.asarray(value) for value in run(parts)]),
    )


def by_torch(module: NICE, events: np.ndarray, batch: int) -> Contender:
    """Log p by PyTorch, eager, in inference mode. Each batch is waited for before the next begins."""
    parts = [on_torch.on_device(part) for part in _split(events, batch)]

    @torch.inference_mode()
    def run(parts: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        return [on_torch.finished(module.log_prob(part)) for part in parts]

    return Contender(
        first=lambda: run(parts[:1]),
        work=lambda: run(parts),
        output=lambda: torch.cat(run(parts)).cpu().numpy(),
    )


def flops_per_event(params: Params) -> int:
    """2 · inputs · outputs of each dense layer: the matrix products alone, biases and activations not counted."""
    return sum(2 * int(leaf.size) for leaf in jax.tree.leaves(params) if leaf.ndim == 2)


def _split(events: np.ndarray, batch: int) -> list[np.ndarray]:
    return [events[start : start + batch] for start in range(0, len(events), batch)]
