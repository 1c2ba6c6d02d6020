"""Small networks of every kind as PyTorch state dicts with random weights, made without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

State = dict[str, np.ndarray]
Shape = tuple[int, ...]

CONFIGS: dict[str, dict[str, Any]] = {
    "small-net": {"channels": 4, "hidden": 6, "classes": 3, "in_channels": 2, "image": 5},
    "small-net-folded": {"channels": 4, "hidden": 6, "classes": 3, "in_channels": 2, "image": 5},
    "net1": {"channels": [2, 3, 4, 3, 5], "hidden": 6, "classes": 4, "in_channels": 2, "image": 17},
    "net2": {"channels": [2, 3, 4, 3, 5], "hidden": 6, "classes": 4, "in_channels": 2, "image": 17},
    "conv-relu-bn": {"in_chan": 3, "out_chan": 4, "f": 3},
    "conv-relu-sign-bias": {"in_chan": 3, "out_chan": 4, "f": 3},
}


def shapes(model: str, config: Mapping[str, Any]) -> dict[str, Shape]:
    """Names and shapes as PyTorch has them, in its order."""
    c = config
    if model.startswith("small-net"):
        modules: dict[str, Shape] = {
            "conv1.0": (c["channels"], c["in_channels"], 3, 3),
            "conv2.0": (c["channels"], c["channels"], 3, 3),
            "fc1.0": (c["hidden"], c["channels"] * c["image"] ** 2),
            "fc2.0": (c["classes"], c["hidden"]),
        }
        normed = ("conv1.0", "conv2.0", "fc1.0") if model == "small-net" else ()
        return _arrays(modules, {name: name.replace(".0", ".1") for name in normed})
    if model.startswith("conv-relu"):
        conv: dict[str, Shape] = {"conv": (c["out_chan"], c["in_chan"], c["f"], c["f"])}
        if model == "conv-relu-bn":
            return _arrays(conv, {"conv": "bn"})
        return {"B": (c["out_chan"],), "S": (c["out_chan"],), **_arrays(conv)}
    inputs = (c["in_channels"], *c["channels"][:-1])
    extents = (7, 3, 3, 3, 3)
    modules = {f"features.{2 * k}": (c["channels"][k], inputs[k], extents[k], extents[k]) for k in range(5)}
    side = c["image"] - 14
    first: Shape = (c["channels"][-1] * side**2,) if model == "net1" else (c["channels"][-1], side, side)
    one: Shape = () if model == "net1" else (1, 1)
    modules["classifier.0"] = (c["hidden"], *first)
    modules["classifier.2"] = (c["hidden"], c["hidden"], *one)
    modules["classifier.4"] = (c["classes"], c["hidden"], *one)
    return _arrays(modules)


def network_state(
    model: str, seed: int = 0, dtype: type = np.float32, config: Mapping[str, Any] | None = None
) -> State:
    """A state dict whose layers keep numbers of about one; variances are positive, γ and S of either sign."""
    rng = np.random.default_rng(seed)
    state: State = {}
    for name, shape in shapes(model, config or CONFIGS[model]).items():
        if name.endswith("num_batches_tracked"):
            state[name] = np.array(rng.integers(0, 2**31), np.int64)
        elif name.endswith("running_var"):
            state[name] = rng.gamma(2, size=shape).astype(dtype)
        elif name.endswith("bias"):
            # Most units are on for most events; a network of dead ones shows nothing.
            state[name] = (rng.normal(size=shape) + (5 if name == "fc2.0.bias" else 1)).astype(dtype)
        elif name == "S":
            state[name] = rng.choice([-1, 1], shape).astype(dtype)
        else:
            fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 1
            state[name] = (rng.normal(size=shape) * np.sqrt(2 / fan_in if len(shape) > 1 else 1)).astype(dtype)
    return state


def images(model: str, count: int, seed: int = 0, config: Mapping[str, Any] | None = None) -> np.ndarray:
    """Events (N, H, W, C) in float64 that the model takes; where any size will do, higher than wide."""
    c = config or CONFIGS[model]
    least = c["f"] if model.startswith("conv-relu") else c["image"]
    size: Sequence[int] = (
        (least + 3, least + 1)
        if model in ("net2", "conv-relu-bn", "conv-relu-sign-bias")
        else (
            least,
            least,
        )
    )
    channels = c["in_chan"] if model.startswith("conv-relu") else c["in_channels"]
    return np.random.default_rng(seed).normal(size=(count, *size, channels))


def _arrays(modules: Mapping[str, Shape], norms: Mapping[str, str] | None = None) -> dict[str, Shape]:
    arrays: dict[str, Shape] = {}
    for module, shape in modules.items():
        arrays |= {f"{module}.weight": shape, f"{module}.bias": shape[:1]}
        if norms and module in norms:
            names = ("weight", "bias", "running_mean", "running_var")
            arrays |= {f"{norms[module]}.{name}": shape[:1] for name in names}
            arrays[f"{norms[module]}.num_batches_tracked"] = ()
    return arrays
