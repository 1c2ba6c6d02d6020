from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

import parity
from mathdnn_jax import Flow
from mathdnn_jax.errors import ConfigurationError, EventShapeError, OutputError
from parity import certify, errors
from parity.certification.checkpoints import BATCH
from parity.models import MODELS
from parity.models.family import Layers
from parity.models.flow import FLOW

from .twins import State, save, small_state

pytest.importorskip("torch", reason="a certificate runs the PyTorch network")

# Many small programs, each run a few times.
pytestmark = pytest.mark.usefixtures("quick_compilation")

CONFIG = {"dim": 12, "width": 24, "depth": 3, "couplings": 3}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save(small_state(config=CONFIG), tmp_path / "small.pt")


def test_a_certificate_says_what_was_compared(checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "certificate.json"
    certificate = certify(checkpoint, output=output, events=BATCH + 7)
    assert certificate == json.loads(output.read_text())
    assert certificate["passed"]
    assert certificate["round_trip_bit_exact"]
    assert certificate["config"] == CONFIG
    assert certificate["checkpoint"]["sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert certificate["checkpoint"]["parameters"] == sum(a.size for a in small_state(config=CONFIG).values())
    assert certificate["precision"]["jax_default_matmul_precision"] == "highest"
    assert {"jax", "torch", "numpy", "python", "mathdnn_jax"} <= certificate["versions"].keys()
    assert certificate["inputs"]["events"] == BATCH + 7
    layers = [layer["layer"] for layer in certificate["layers"]]
    couplings = [
        f"coupling_{i}{layer}" for i in range(3) for layer in ("/dense_0", "/dense_1", "/dense_2", "/dense_3", "")
    ]
    assert layers == [*couplings, "scaling", "log_det", "log_prob", "inverse"]
    assert [layer["values"] for layer in certificate["layers"][:1]] == [(BATCH + 7) * 24]


def test_the_default_place_is_the_current_folder(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    certify(checkpoint, events=8)
    assert [path.name for path in Path.cwd().iterdir()] == ["small.certificate.json"]


def test_it_is_the_same_twice(checkpoint: Path, tmp_path: Path) -> None:
    first, second = (certify(checkpoint, output=tmp_path / name, events=64) for name in ("a.json", "b.json"))
    assert {**first, "written": ""} == {**second, "written": ""}


def test_matrix_products_have_the_precision_that_is_stated(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = []

    def spy(flow: Flow) -> Callable[..., Layers]:
        def traced(*arguments: jax.Array) -> Layers:
            programs.append(str(jax.make_jaxpr(FLOW.jax_layers(flow))(*arguments)))
            return FLOW.jax_layers(flow)(*arguments)

        return traced

    spied = MODELS["nice"]._replace(family=FLOW._replace(jax_layers=spy))
    monkeypatch.setitem(MODELS, "nice", spied)
    certificate = certify(checkpoint, output=tmp_path / "c.json", events=8)
    assert certificate["precision"]["jax_default_matmul_precision"] == "highest"
    for program in programs:
        products = program.count("dot_general[")
        assert products > 0
        assert program.count("precision=(Precision.HIGHEST, Precision.HIGHEST)") == products


def test_given_inputs_are_used(checkpoint: Path, tmp_path: Path) -> None:
    inputs = np.random.default_rng(0).random((5, 12), dtype=np.float32)
    certificate = certify(checkpoint, inputs=inputs, output=tmp_path / "c.json")
    assert certificate["inputs"] == {
        "source": "given",
        "events": 5,
        "sha256": hashlib.sha256(inputs.tobytes()).hexdigest(),
    }


def untransposed(state: State) -> State:
    return {**state, "coupling.1.mid_block.0.0.weight": state["coupling.1.mid_block.0.0.weight"].T.copy()}


def swapped(state: State) -> State:
    first, second = "coupling.0.mid_block.0.0.", "coupling.0.mid_block.1.0."
    exchanged = {f"{first}{k}": state[f"{second}{k}"] for k in ("weight", "bias")}
    return {**state, **exchanged, **{f"{second}{k}": state[f"{first}{k}"] for k in ("weight", "bias")}}


def shifted_bias(state: State) -> State:
    return {**state, "coupling.2.out_block.bias": np.roll(state["coupling.2.out_block.bias"], 1)}


def wrong_sign(state: State) -> State:
    return {**state, "scaling.scale": -state["scaling.scale"]}


def nearly_right(state: State) -> State:
    return {**state, "scaling.scale": state["scaling.scale"] * np.float32(1 + 3e-7)}


@pytest.mark.parametrize(
    ("mistake", "layer"),
    [
        (untransposed, "coupling_1/dense_1"),
        (swapped, "coupling_0/dense_1"),
        (shifted_bias, "coupling_2/dense_3"),
        (wrong_sign, "scaling"),
        (nearly_right, "scaling"),
    ],
)
def test_a_wrong_conversion_is_caught_and_its_first_layer_named(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistake: Callable[[State], State], layer: str
) -> None:
    # The mistake is made on the way into JAX and undone on the way back, so that only what is computed can tell.
    right = small_state(config=CONFIG)
    monkeypatch.setattr("parity.store.convert", lambda state, model, **_: parity.convert(mistake(state), model))
    monkeypatch.setattr("parity.certification.checkpoints.export", lambda *_: right)
    output = tmp_path / "certificate.json"
    with pytest.raises(errors.CertificationError, match=f"first in {layer}:") as caught:
        certify(checkpoint, output=output, events=64)
    written = json.loads(output.read_text())
    assert written == caught.value.certificate
    assert not written["passed"]
    failed = [row["layer"] for row in written["layers"] if not row["passed"]]
    assert failed[0] == layer
    assert "log_prob" in failed


def test_a_round_trip_that_is_not_exact_is_caught(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_bit(params: object, model: str) -> State:
        state = parity.export(params, model)
        state["scaling.scale"].view(np.int32)[0, 0] ^= 1
        return state

    monkeypatch.setattr("parity.certification.checkpoints.export", one_bit)
    with pytest.raises(errors.CertificationError, match="do not come back bit for bit"):
        certify(checkpoint, output=tmp_path / "c.json", events=8)
    assert not json.loads((tmp_path / "c.json").read_text())["passed"]


def test_networks_beyond_float32_fail_by_name(tmp_path: Path) -> None:
    state = small_state(config=CONFIG)
    state["scaling.scale"][:] = 100
    with pytest.raises(errors.CertificationError, match="NaN or infinite"):
        certify(save(state, tmp_path / "great.pt"), output=tmp_path / "c.json", events=8)


def test_few_events_do_not_fail_by_bad_luck(checkpoint: Path, tmp_path: Path) -> None:
    for events in (1, 3, 8):
        for seed in range(2):
            certificate = certify(checkpoint, output=tmp_path / "c.json", events=events, seed=seed)
            assert certificate["inputs"]["events"] == events
            assert {layer["layer"]: layer["values"] for layer in certificate["layers"]}["log_prob"] == events


def test_the_last_batch_counts_no_event_twice(checkpoint: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    certify(checkpoint, output=tmp_path / "c.json", events=BATCH + 7, on_batch=seen.append)
    assert seen == [BATCH, 7]


def test_places_of_differences_count_the_events_of_all_batches(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parity.certification.checkpoints.BATCH", 2)
    inputs = np.zeros((5, 12), np.float32)
    inputs[4] = 100
    monkeypatch.setattr("parity.store.convert", lambda state, model, **_: parity.convert(wrong_sign(state), model))
    with pytest.raises(errors.CertificationError) as caught:
        certify(checkpoint, inputs=inputs, output=tmp_path / "c.json")
    layers = {layer["layer"]: layer for layer in caught.value.certificate["layers"]}
    assert layers["scaling"]["values"] == 5 * 12
    assert layers["scaling"]["jax_to_torch_float32"]["absolute"]["index"][0] == 4


def test_a_converted_file_can_be_certified(checkpoint: Path, tmp_path: Path) -> None:
    converted = tmp_path / "small.safetensors"
    parity.save_params(converted, parity.restore(checkpoint).params)
    assert certify(converted, output=tmp_path / "c.json", events=64)["passed"]


def test_keys_may_be_ignored_by_name(tmp_path: Path) -> None:
    state = {**small_state(config=CONFIG), "step": np.zeros((), np.int64)}
    path = save(state, tmp_path / "more.pt")
    with pytest.raises(errors.UnexpectedKeysError, match="step"):
        certify(path, output=tmp_path / "c.json", events=64)
    assert certify(path, output=tmp_path / "c.json", events=64, ignore=["step"])["passed"]


def test_the_checkpoint_is_never_replaced(checkpoint: Path) -> None:
    before = checkpoint.read_bytes()
    with pytest.raises(OutputError, match="is the source itself"):
        certify(checkpoint, output=checkpoint, events=8)
    assert checkpoint.read_bytes() == before


@pytest.mark.parametrize("wrong", [{"events": 0}, {"events": -1}, {"seed": -5}, {"seed": 2**32}])
def test_impossible_numbers_are_refused(checkpoint: Path, tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError):
        certify(checkpoint, output=tmp_path / "c.json", **wrong)  # type: ignore[call-overload]


def test_nothing_is_written_for_bad_input(checkpoint: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    output = tmp_path / "c.json"
    with pytest.raises(EventShapeError, match=r"at least one event of shape \(12,\), got .*\(3, 11\)"):
        certify(checkpoint, inputs=np.zeros((3, 11), np.float32), output=output)
    with pytest.raises(EventShapeError, match=r"\(0, 12\)"):
        certify(checkpoint, inputs=np.zeros((0, 12), np.float32), output=output)
    with pytest.raises(errors.CheckpointNotFoundError):
        certify(tmp_path / "none.pt", output=output)
    with pytest.raises(OutputError):
        certify(checkpoint, output=tmp_path / "no" / "c.json")
    assert sorted(tmp_path.iterdir()) == before
