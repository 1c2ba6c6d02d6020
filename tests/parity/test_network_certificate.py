from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parity
from mathdnn_jax.errors import EventShapeError
from parity import certify, errors

from .network_states import CONFIGS, State, images, network_state
from .twins import save

pytest.importorskip("torch", reason="a certificate runs the PyTorch network")

# Many small programs, each run a few times.
pytestmark = pytest.mark.usefixtures("quick_compilation")

LAYERS = {
    "small-net": [f"{block}_{k}" for block in ("conv1", "conv2", "fc1") for k in range(3)] + ["fc2_0", "fc2_1"],
    "small-net-folded": [f"{block}_{k}" for block in ("conv1", "conv2", "fc1", "fc2") for k in range(2)],
    "net1": [f"features_{k}" for k in range(9)] + [f"classifier_{k}" for k in range(5)],
    "net2": [f"features_{k}" for k in range(9)] + [f"classifier_{k}" for k in range(5)],
    "conv-relu-bn": ["conv", "bn"],
    "conv-relu-sign-bias": ["conv", "bn"],
}


@pytest.mark.parametrize("model", list(CONFIGS))
def test_every_network_is_certified_layer_by_layer(tmp_path: Path, model: str) -> None:
    path = save(network_state(model), tmp_path / "network.pt")
    certificate = certify(path, model, output=tmp_path / "c.json", events=100)
    assert certificate == json.loads((tmp_path / "c.json").read_text())
    assert certificate["passed"]
    assert certificate["round_trip_bit_exact"]
    assert certificate["config"] == CONFIGS[model]
    assert [layer["layer"] for layer in certificate["layers"]] == LAYERS[model]
    assert certificate["inputs"]["source"] == "uniform, seed 0"
    assert certificate["inputs"]["events"] == 100


def test_images_of_any_size_are_taken_where_the_network_takes_them(tmp_path: Path) -> None:
    path = save(network_state("net2"), tmp_path / "net2.pt")
    x = images("net2", 70).astype(np.float32)
    certificate = certify(path, "net2", inputs=x, output=tmp_path / "c.json")
    sizes = {layer["layer"]: layer["values"] for layer in certificate["layers"]}
    # (N, 20 − 16, 18 − 16, classes)
    assert sizes["classifier_4"] == 70 * 4 * 2 * 4


@pytest.mark.parametrize(
    ("model", "shape", "words"),
    [
        ("small-net", (3, 2, 5, 5), r"shape \(5, 5, 2\), got an array of shape \(3, 2, 5, 5\)"),
        ("small-net", (3, 50), r"got an array of shape \(3, 50\)"),
        ("net2", (3, 16, 20, 2), r"shape \(≥17, ≥17, 2\), got"),
        ("conv-relu-bn", (3, 4, 4, 1), r"shape \(≥3, ≥3, 3\), got"),
    ],
)
def test_events_of_other_shapes_are_refused(tmp_path: Path, model: str, shape: tuple[int, ...], words: str) -> None:
    path = save(network_state(model), tmp_path / "network.pt")
    with pytest.raises(EventShapeError, match=words):
        certify(path, model, inputs=np.zeros(shape, np.float32), output=tmp_path / "c.json")
    assert not (tmp_path / "c.json").exists()


def flatten_order(state: State) -> State:
    weight = state["fc1.0.weight"]
    return {**state, "fc1.0.weight": weight.reshape(6, 4, 5, 5).transpose(0, 2, 3, 1).reshape(6, -1)}


def turned_kernel(state: State) -> State:
    return {**state, "conv2.0.weight": state["conv2.0.weight"][:, :, ::-1, ::-1].copy()}


def exchanged(a: str, b: str) -> Callable[[State], State]:
    return lambda state: {**state, a: state[b], b: state[a]}


def scaled(name: str, factor: float) -> Callable[[State], State]:
    return lambda state: {**state, name: state[name] * np.float32(factor)}


@pytest.mark.parametrize(
    ("mistake", "layer"),
    [
        (flatten_order, "fc1_0"),
        (turned_kernel, "conv2_0"),
        (exchanged("conv1.1.weight", "conv1.1.bias"), "conv1_1"),
        (exchanged("fc1.1.running_mean", "fc1.1.bias"), "fc1_1"),
        (scaled("conv2.1.running_var", 1 + 1e-6), "conv2_1"),
        (scaled("fc2.0.weight", 1 + 1e-6), "fc2_0"),
    ],
)
def test_a_wrong_conversion_is_caught_and_its_first_layer_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistake: Callable[[State], State], layer: str
) -> None:
    right = network_state("small-net")
    path = save(right, tmp_path / "network.pt")
    monkeypatch.setattr("parity.store.convert", lambda state, model, **_: parity.convert(mistake(state), model))
    monkeypatch.setattr("parity.certification.checkpoints.export", lambda *_: right)
    with pytest.raises(errors.CertificationError, match=f"first in {layer}:"):
        certify(path, "small-net", inputs=images("small-net", 128).astype(np.float32), output=tmp_path / "c.json")


def test_a_count_that_does_not_come_back_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(network_state("small-net"), tmp_path / "network.pt")

    def forgetful(variables: Any, model: str) -> State:
        return {**parity.export(variables, model), "conv1.1.num_batches_tracked": np.array(0)}

    monkeypatch.setattr("parity.certification.checkpoints.export", forgetful)
    with pytest.raises(errors.CertificationError, match="do not come back bit for bit"):
        certify(path, "small-net", output=tmp_path / "c.json", events=8)


def test_large_networks_are_compared_on_fewer_events_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(network_state("small-net"), tmp_path / "network.pt")
    seen: list[int] = []
    monkeypatch.setattr("parity.certification.checkpoints.VALUES", 1000 * 20)
    certify(path, "small-net", output=tmp_path / "c.json", events=70, on_batch=seen.append)
    assert sum(seen) == 70
    assert 10 < seen[0] < 70
    assert len(set(seen[:-1])) == 1
    monkeypatch.setattr("parity.certification.checkpoints.VALUES", 1)
    certify(path, "small-net", output=tmp_path / "c.json", events=3, on_batch=seen.append)
    assert seen[-3:] == [1, 1, 1]
