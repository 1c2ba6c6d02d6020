"""Small PyTorch twins with random weights, as state dicts and as checkpoint files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

SMALL = {"dim": 6, "width": 5, "depth": 3, "couplings": 4}

State = dict[str, np.ndarray]


def small_state(seed: int = 0, dtype: type = np.float32, config: Mapping[str, int] = SMALL) -> State:
    """A NICE's state dict with all weights random, the scaling too; made without PyTorch."""
    rng = np.random.default_rng(seed)
    half, width = config["dim"] // 2, config["width"]
    widths = [half, *[width] * config["depth"], half]
    names = ["in_block.0", *(f"mid_block.{j}.0" for j in range(config["depth"] - 1)), "out_block"]
    state = {}
    for i in range(config["couplings"]):
        for name, fan_in, fan_out in zip(names, widths[:-1], widths[1:], strict=True):
            state[f"coupling.{i}.{name}.weight"] = rng.normal(size=(fan_out, fan_in)) / np.sqrt(fan_in)
            state[f"coupling.{i}.{name}.bias"] = rng.normal(size=fan_out)
    state["scaling.scale"] = rng.normal(size=(1, config["dim"]))
    return {name: array.astype(dtype) for name, array in state.items()}


def save(state: State, path: Path, *, legacy: bool = False) -> Path:
    """Write a state dict as `torch.save` does, in its zip or its legacy container."""
    torch = pytest.importorskip("torch", reason="PyTorch checkpoints are written by PyTorch")
    tensors = {name: torch.from_numpy(array.copy()) for name, array in state.items()}
    torch.save(tensors, path, _use_new_zipfile_serialization=not legacy)
    return path
