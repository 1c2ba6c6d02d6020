"""Sound checkpoints to spoil: small ones made on the fly, and the real ones where they are."""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.numpy import save as save_safetensors

import parity
from parity.containers.checkpoint import to_numpy
from parity.rules.tree import flatten
from parity.store import PARAMS_OF

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = {"dim": 6, "width": 5, "depth": 2, "couplings": 2}
LARGEST = 4_000_000
MADE = 8
"""How many seeds are made here; the rest are the real files."""


class Seed(NamedTuple):
    """A sound file: its bytes, what they hold, and whether a checksum guards them."""

    name: str
    kind: str
    content: bytes
    state: dict[str, np.ndarray]
    model: str | None

    @property
    def suffix(self) -> str:
        """The ending of the file's name."""
        return ".safetensors" if self.kind == "safetensors" else ".pt"


def nice_state(seed: int = 0) -> dict[str, np.ndarray]:
    """The weights of a small NICE."""
    rng = np.random.default_rng(seed)
    widths = [3, *[CONFIG["width"]] * CONFIG["depth"], 3]
    names = ["in_block.0", *(f"mid_block.{j}.0" for j in range(CONFIG["depth"] - 1)), "out_block"]
    state = {}
    for i in range(CONFIG["couplings"]):
        for name, fan_in, fan_out in zip(names, widths[:-1], widths[1:], strict=True):
            state[f"coupling.{i}.{name}.weight"] = rng.normal(size=(fan_out, fan_in)).astype(np.float32)
            state[f"coupling.{i}.{name}.bias"] = rng.normal(size=fan_out).astype(np.float32)
    state["scaling.scale"] = rng.normal(size=(1, CONFIG["dim"])).astype(np.float32)
    return state


def saved(content: Any, *, legacy: bool = False) -> bytes:
    """What `torch.save` writes."""
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def tensors(state: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Arrays as tensors of their own."""
    return {name: torch.from_numpy(array.copy()) for name, array in state.items()}


def corpus() -> list[Seed]:
    """All sound files."""
    state = nice_state()
    whole = torch.arange(24.0).reshape(4, 6)
    mixed = OrderedDict(
        transposed=whole.T,
        part=whole[:, 1],
        again=whole,
        half=whole.half(),
        brain=whole.bfloat16(),
        count=torch.tensor(7),
        flags=whole > 3,
        none=torch.zeros(0, 3),
        learnt=torch.nn.Parameter(whole.clone()),
        bytes=whole.to(torch.uint8),
    )
    # As training scripts save: an optimiser's tensors around the state.
    moments = {k: {"step": torch.tensor(3.0), "exp_avg": value} for k, value in enumerate(tensors(state).values())}
    wrapped = {
        "epoch": 3,
        "model_state": tensors(state),
        "optimizer": {"state": moments, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999), "params": [0, 1]}]},
        "rng": torch.get_rng_state(),
    }
    mixed_state = {name: to_numpy(value) for name, value in mixed.items()}
    params = flatten(parity.convert(state))
    flat = {name: np.asarray(leaf, order="C") for name, leaf in params.items()}
    seeds = [
        Seed("nice.zip", "zip", saved(tensors(state)), state, "nice"),
        Seed("nice.legacy", "legacy", saved(tensors(state), legacy=True), state, "nice"),
        Seed("nice.safetensors", "safetensors", save_safetensors(state, {"format": "pt"}), state, "nice"),
        Seed("params.safetensors", "safetensors", save_safetensors(flat, {PARAMS_OF: "nice"}), flat, "nice"),
        Seed("mixed.zip", "zip", saved(mixed), mixed_state, None),
        Seed("mixed.legacy", "legacy", saved(mixed, legacy=True), mixed_state, None),
        Seed("wrapped.zip", "zip", saved(wrapped), state, "nice"),
        Seed("wrapped.legacy", "legacy", saved(wrapped, legacy=True), state, "nice"),
    ]
    folder = Path(os.environ.get("MATHDNN_SHARED", REPOSITORY.parent / "shared")) / "checkpoints"
    models = {"mlp_vae_fashion_mnist": "vae", "lenet_cifar": "lenet", "dcgan_digits_generator": "dcgan-generator"}
    for path in sorted((folder / "third_party").glob("*.pth")):
        if path.stat().st_size <= LARGEST:
            content = path.read_bytes()
            kind = "zip" if content.startswith(b"PK") else "legacy"
            loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            arrays = {name: to_numpy(value) for name, value in loaded.items()}
            seeds.append(Seed(path.name, kind, content, arrays, models.get(path.stem)))
    return seeds
