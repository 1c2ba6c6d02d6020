"""The commands that read checkpoints, on networks that are not densities."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import parity
from mathdnn_jax.cli import main
from mathdnn_jax.cli.certify import _inputs

from .conftest import Refused

torch = pytest.importorskip("torch", reason="the commands read PyTorch checkpoints")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A smallNet for grey 8 × 8 images, as its initialiser draws it."""
    from parity.reference import SmallNetTrain

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = SmallNetTrain(channels=4, hidden=16, image=8, in_channels=1)
    path = tmp_path_factory.mktemp("checkpoint") / "small.pt"
    parity.save_state(path, {name: tensor.numpy() for name, tensor in module.state_dict().items()})
    return path


def test_certify_gives_a_network_images(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn", reason="the digits are scikit-learn's")
    output = tmp_path / "c.json"
    arguments = ["certify", str(checkpoint), "--model", "small-net", "--inputs", "digits", "--events", "64"]
    assert main([*arguments, "-o", str(output)]) == 0
    out = capsys.readouterr().out
    assert "11 of 11 comparisons within the rule on 64 events" in out
    certificate = json.loads(output.read_text())
    assert certificate["config"] == {"channels": 4, "hidden": 16, "classes": 10, "in_channels": 1, "image": 8}


def test_images_are_vectors_for_flows_and_have_channels_for_networks(tmp_path: Path) -> None:
    (tmp_path / "CIFAR10").mkdir()
    colours = np.arange(2 * 32 * 32 * 3).astype(np.uint8).reshape(2, 32, 32, 3)
    np.savez(tmp_path / "CIFAR10" / "test.npz", images=colours, labels=np.zeros(2, np.int64))
    network, flow = (_inputs("cifar10", str(tmp_path), 1, ndims) for ndims in (3, 1))
    np.testing.assert_array_equal(network, colours[:1].astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(flow, network.reshape(1, -1))
    pytest.importorskip("sklearn", reason="the digits are scikit-learn's")
    assert _inputs("digits", None, 5, 3).shape == (5, 8, 8, 1)


def test_convert_there_and_back(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there, back = tmp_path / "small.safetensors", tmp_path / "back.pt"
    assert main(["convert", str(checkpoint), str(there), "--model", "small-net"]) == 0
    assert "small-net (channels 4, hidden 16, classes 10, in_channels 1, image 8), 23 arrays" in capsys.readouterr().out
    assert main(["convert", str(there), str(back), "--model", "small-net"]) == 0
    before, after = parity.load(checkpoint), parity.load(back)
    assert before.keys() == after.keys()
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)
    assert all(before[name].dtype == after[name].dtype for name in before)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["anomaly", "--checkpoint", "{}", "--model", "small-net"], "model 'small-net' is a network without one"),
        (["certify", "{}", "--model", "net2"], "WrongModelError: this is not a net2"),
        (["certify", "{}", "--model", "small-net-folded"], "take model 'small-net'"),
        (["convert", "{}", "x.safetensors"], "not a NICE's"),
        (["certify", "{}", "--model", "alexnet"], "UnknownModelError"),
    ],
)
def test_another_model_is_one_message_and_exit_code_two(
    checkpoint: Path, refused: Refused, arguments: list[str], words: str
) -> None:
    refused([argument.format(checkpoint) for argument in arguments], words)
