"""Sound checkpoints to spoil: small ones that are made here, and real ones if they are available."""

from __future__ import annotations

import argparse
import io
import json
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
MADE = 12
"""The number of sound files that are made here. The rest are real files."""


class SoundFile(NamedTuple):
    """A sound file: its name, kind and bytes, the arrays that they hold, and the model that these belong to, if any.

    `inside` is the dictionary that is read, and `beside` has the files that an index names.
    """

    name: str
    kind: str
    content: bytes
    state: dict[str, np.ndarray]
    model: str | None
    inside: str | None = None
    beside: Mapping[str, bytes] = {}

    @property
    def suffix(self) -> str:
        """The suffix of the file's name."""
        return {"safetensors": ".safetensors", "index": ".index.json"}.get(self.kind, ".pt")


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


def saved(content: Any, *, legacy: bool = False, protocol: int = 2) -> bytes:
    """Return the bytes that `torch.save` writes."""
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy, pickle_protocol=protocol)
    return buffer.getvalue()


def tensors(state: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Return copies of the arrays as tensors."""
    return {name: torch.from_numpy(array.copy()) for name, array in state.items()}


def lightning(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return a state with what Lightning keeps beside it: objects of any class, and NumPy's scalars."""
    return {
        "state_dict": tensors(state),
        "hyper_parameters": argparse.Namespace(rate=0.1, sizes={3, 5}, path=Path("runs")),
        "best": np.float64(0.5),
    }


def sharded(state: Mapping[str, np.ndarray]) -> SoundFile:
    """Return the index of a state in two files."""
    names = list(state)
    parts = {"part-1.safetensors": names[::2], "part-2.safetensors": names[1::2]}
    index = {"weight_map": {name: part for part, held in parts.items() for name in held}}
    beside = {part: save_safetensors({name: state[name] for name in held}) for part, held in parts.items()}
    return SoundFile("sharded", "index", json.dumps(index).encode(), dict(state), "nice", beside=beside)


def corpus() -> list[SoundFile]:
    """Return all sound files."""
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
    # Training scripts save the state together with the tensors of an optimiser.
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
    files = [
        SoundFile("nice.zip", "zip", saved(tensors(state)), state, "nice"),
        SoundFile("nice.legacy", "legacy", saved(tensors(state), legacy=True), state, "nice"),
        SoundFile("nice.safetensors", "safetensors", save_safetensors(state, {"format": "pt"}), state, "nice"),
        SoundFile("params.safetensors", "safetensors", save_safetensors(flat, {PARAMS_OF: "nice"}), flat, "nice"),
        SoundFile("mixed.zip", "zip", saved(mixed), mixed_state, None),
        SoundFile("mixed.legacy", "legacy", saved(mixed, legacy=True), mixed_state, None),
        SoundFile("wrapped.zip", "zip", saved(wrapped), state, "nice"),
        SoundFile("wrapped.legacy", "legacy", saved(wrapped, legacy=True), state, "nice"),
        SoundFile("protocol5.zip", "zip", saved(mixed, protocol=5), mixed_state, None),
        SoundFile("protocol4.legacy", "legacy", saved(wrapped, legacy=True, protocol=4), state, "nice"),
        SoundFile("lightning.zip", "zip", saved(lightning(state), protocol=5), state, "nice", "state_dict"),
        sharded(state),
    ]
    folder = Path(os.environ.get("MATHDNN_SHARED", REPOSITORY.parent / "shared")) / "checkpoints"
    models = {"mlp_vae_fashion_mnist": "vae", "lenet_cifar": "lenet", "dcgan_digits_generator": "dcgan-generator"}
    for path in sorted((folder / "third_party").glob("*.pth")):
        if path.stat().st_size <= LARGEST:
            content = path.read_bytes()
            kind = "zip" if content.startswith(b"PK") else "legacy"
            loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            arrays = {name: to_numpy(value) for name, value in loaded.items()}
            files.append(SoundFile(path.name, kind, content, arrays, models.get(path.stem)))
    return files
