"""A recording of a PyTorch module is certified like the module itself, and elsewhere without PyTorch."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import ml_dtypes
import numpy as np
import pytest

import parity
from mathdnn_jax.errors import ConfigurationError
from parity import RuleTable, errors
from parity.certification.inputs import Slot
from parity.certification.packing import pack, unpack
from parity.certification.recording import read_recording

from .recorded_networks import NETWORKS, Recorded, Words, write_recordings

RECORDED = "MATHDNN_RECORDED"
"""The folder of recordings that another Python has written, with PyTorch."""


@pytest.fixture(autouse=True)
def _standard_promotion() -> Iterator[None]:
    """Flax's norms mix float32 constants with their arguments, which strict promotion forbids in float64."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def converted(path: Path, network: Recorded) -> tuple[RuleTable, Any]:
    """The rules for the recorded weights, and the variables that they give."""
    state, rules = read_recording(path).module.state, network.rules
    if rules is None:
        inputs = network.inputs if isinstance(network.inputs, tuple) else (network.inputs,)
        shapes = tuple(jax.ShapeDtypeStruct(array.shape, array.dtype) for array in inputs)
        rules = parity.infer_rules(state, network.shapes, apply=lambda v, xs: network.apply(v, *xs), inputs=shapes)
    return rules, parity.convert(state, network.shapes, rules)


def layers_judged(certificate: dict[str, Any]) -> int:
    """The number of layers of a certificate that has passed and compared an output."""
    assert certificate["passed"]
    assert certificate["output"]["numbers"] > 0
    return len(certificate["layers"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch", reason="PyTorch's networks are recorded by PyTorch")
    made = tmp_path_factory.mktemp("recorded")
    assert len(write_recordings(made)) == len(NETWORKS)
    return made


@pytest.mark.parametrize("name", NETWORKS)
def test_a_recording_is_certified_as_the_module_is(folder: Path, name: str) -> None:
    network, path = NETWORKS[name](), folder / f"{name}.npz"
    rules, variables = converted(path, network)
    recorded = parity.certify(path, network.apply, variables, rules=rules)
    beside = parity.certify(network.torch(), network.apply, variables, network.inputs, rules=rules)
    assert {key for key in beside if recorded[key] != beside[key]} <= {"written", "recorded"}
    assert beside["recorded"] is None
    assert recorded["recorded"]["torch"] == beside["versions"]["torch"]
    assert layers_judged(recorded) > 1


@pytest.mark.parametrize("name", NETWORKS)
def test_the_recordings_of_another_python_are_certified_by_this_one(name: str) -> None:
    if RECORDED not in os.environ:
        pytest.skip(f"no recordings: set {RECORDED} to a folder that recorded_networks.py has written")
    network, path = NETWORKS[name](), Path(os.environ[RECORDED]) / f"{name}.npz"
    rules, variables = converted(path, network)
    certificate = parity.certify(path, network.apply, variables, rules=rules)
    assert layers_judged(certificate) > 1
    assert certificate["recorded"]["torch"] != "not installed"


def test_a_network_that_departs_from_a_recording_fails(folder: Path, tmp_path: Path) -> None:
    path = folder / "words.npz"
    rules, variables = converted(path, NETWORKS["words"]())

    class Other(Words):
        @nn.compact
        def __call__(self, words: jax.Array, scale: jax.Array) -> tuple[jax.Array, jax.Array]:
            mean, last = super().__call__(words, scale)
            return mean, last * 1.001

    with pytest.raises(errors.CertificationError, match="output/1") as caught:
        parity.certify(path, Other().apply, variables, rules=rules, output=tmp_path / "c.json")
    assert not caught.value.certificate["passed"]
    variables["params"]["wide"]["bias"] = variables["params"]["wide"]["bias"] + 1
    with pytest.raises(errors.CertificationError, match="params/wide/bias"):
        parity.certify(path, NETWORKS["words"]().apply, variables, rules=rules)


@pytest.mark.parametrize("options", [{"torch_inputs": np.ones((2, 2))}, {"gradients": True}])
def test_a_recording_has_its_own_inputs(folder: Path, options: dict[str, Any]) -> None:
    network = NETWORKS["small-net"]()
    with pytest.raises(
        ConfigurationError, match=f"a recording has its own inputs, and no gradients; got {next(iter(options))}"
    ):
        parity.certify(folder / "small-net.npz", network.apply, network.shapes, **options)
    with pytest.raises(ConfigurationError, match="got inputs"):
        parity.certify(folder / "small-net.npz", network.apply, network.shapes, network.inputs)


def test_files_that_are_not_recordings_are_refused(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "words.npz").read_bytes()
    bad = tmp_path / "bad.npz"
    for cut in range(0, len(whole), len(whole) // 20):
        bad.write_bytes(whole[:cut])
        with pytest.raises(errors.CorruptCheckpointError, match=r"bad\.npz is not a readable recording"):
            read_recording(bad)
    np.savez(bad, document=np.array([object()]), allow_pickle=True)
    with pytest.raises(errors.CorruptCheckpointError):
        read_recording(bad)
    np.savez(bad, document=np.frombuffer(b'{"format": "mathdnn recording 0"}', np.uint8))
    with pytest.raises(errors.CorruptCheckpointError):
        read_recording(bad)
    with pytest.raises(errors.CheckpointNotFoundError, match="is not a file"):
        read_recording(tmp_path / "none.npz")


def test_what_is_packed_comes_back() -> None:
    half = np.array([[1.5, -2.0]], ml_dtypes.bfloat16)
    value: dict[str, Any] = {"a": (np.arange(3), None, True), "b": [half, 1.5, "text"], "c": {"d": Slot("x/0")}}
    arrays: list[np.ndarray] = []
    document = json.loads(json.dumps(pack(value, arrays)))
    assert all(array.dtype.kind in "iuf" for array in arrays)
    back = unpack(document, arrays)
    assert back["b"][0].dtype == half.dtype
    assert back["b"][0].tobytes() == half.tobytes()
    assert (back["a"][0] == value["a"][0]).all()
    assert back["a"][1:] == (None, True)
    assert back["b"][1:] == [1.5, "text"]
    assert back["c"] == value["c"]
    with pytest.raises(ConfigurationError, match="got object among the inputs"):
        pack((object(),), [])
