"""States inside the dictionaries of a file: found where one alone can be meant, named, and never guessed."""

from __future__ import annotations

import functools
import sys
import tracemalloc
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parity
from mathdnn_jax.cli import main
from parity import errors
from parity.containers import Selection
from parity.containers.checkpoint import read

from .twins import save, small_state

torch = pytest.importorskip("torch", reason="PyTorch checkpoints are written by PyTorch")

# Many small programs, each run a few times.
pytestmark = pytest.mark.usefixtures("quick_compilation")

STATE = small_state()


def tensors(state: Mapping[str, np.ndarray] = STATE, prefix: str = "") -> dict[str, Any]:
    return {prefix + name: torch.from_numpy(array.copy()) for name, array in state.items()}


@functools.cache
def trained() -> dict[str, Any]:
    """What an optimiser and a schedule keep, after a step; PyTorch takes seconds to import what this needs."""
    module = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(module.parameters())
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5])
    module(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    schedule.step()
    return {"optimizer": optimizer.state_dict(), "scheduler": schedule.state_dict()}


def lightning() -> dict[str, Any]:
    """The keys of a Lightning checkpoint, whose state has its attribute's name before every key."""
    parts = trained()
    return {
        "epoch": 2,
        "global_step": 40,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": tensors(prefix="model."),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 3}}}},
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.5), "best_model_path": "x.ckpt"}},
        "optimizer_states": [parts["optimizer"]],
        "lr_schedulers": [parts["scheduler"]],
    }


def scripted() -> dict[str, Any]:
    """What a training script may keep."""
    return {"epoch": 3, "model_state": tensors(), **trained(), "best": torch.tensor(0.4), "rng": torch.get_rng_state()}


WRAPPED: dict[str, tuple[Callable[[], dict[str, Any]], tuple[str, ...], str]] = {
    "a training script's": (scripted, ("model_state",), ""),
    "state_dict": (lambda: {"state_dict": tensors(prefix="module."), "arch": "nice"}, ("state_dict",), "module."),
    "two deep": (lambda: {"checkpoint": {"model": tensors(), "step": 1}, "note": None}, ("checkpoint", "model"), ""),
    "Lightning": (lightning, ("state_dict",), "model."),
    "compiled and parallel": (
        lambda: {"model": tensors(prefix="module._orig_mod."), "epoch": 1.5},
        ("model",),
        "module._orig_mod.",
    ),
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("case", WRAPPED)
def test_the_one_state_is_found_and_what_is_left_is_named(tmp_path: Path, case: str, legacy: bool) -> None:
    make, path, prefix = WRAPPED[case]
    content, words = make(), f"the state is its {'/'.join(path)!r}; left out: "
    file = tmp_path / "run.pt"
    torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    with pytest.warns(errors.WrappedCheckpointWarning, match=words) as caught:
        state = parity.load(file)
    assert Path(caught[0].filename) == Path(__file__)
    assert type(state) is dict
    assert list(state) == [prefix + name for name in STATE]
    assert all(state[prefix + name].tobytes() == array.tobytes() for name, array in STATE.items())
    checkpoint = read(file)
    assert checkpoint.selection.path == path
    assert {name.split("/")[0] for name in checkpoint.selection.left} == content.keys() - {path[0]} | set(path[:-1])
    # The models of the library take it as it is, and what was chosen by name is taken without a word.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = parity.load(file, inside="/".join(path))
        restored = parity.restore(file, inside=path)
    assert again.keys() == state.keys()
    assert restored.state.keys() == STATE.keys()
    assert parity.export(restored.params)["scaling.scale"].tobytes() == STATE["scaling.scale"].tobytes()


def test_what_is_left_is_described_in_words(tmp_path: Path) -> None:
    torch.save(scripted(), tmp_path / "run.pt")
    selection = read(tmp_path / "run.pt").selection
    assert selection.left == {
        "epoch": "3",
        "optimizer": "a dict of 2 entries",
        "scheduler": f"a dict of {len(trained()['scheduler'])} entries",
        "best": "a tensor",
        "rng": "a tensor",
    }
    words = "the state is its 'model_state'; left out: 'epoch' (3), 'optimizer' (a dict of 2 entries)"
    assert str(selection).startswith(words)
    assert str(Selection()) == str(read(save(STATE, tmp_path / "flat.pt")).selection) == ""


AMBIGUOUS: list[tuple[dict[str, Any], str, str]] = [
    ({"model": tensors(), "ema": tensors()}, "'model' (33 tensors), 'ema' (33 tensors)", "ema"),
    (
        {"generator": {"state_dict": tensors()}, "discriminator": {"state_dict": tensors()}},
        "'generator/state_dict' (33 tensors), 'discriminator/state_dict' (33 tensors)",
        "generator/state_dict",
    ),
    (
        {"blocks": tensors(), "head.weight": torch.ones(2, 3), "step": torch.tensor(3)},
        "beside it arrays that may be weights too: 'head.weight' (2, 3); if they are not, select inside='blocks'",
        "blocks",
    ),
    ({"a/b": tensors(), "half": torch.ones(3).bfloat16()}, "'half' (3,)", "a/b"),
]


@pytest.mark.parametrize(("content", "words", "choice"), AMBIGUOUS)
def test_what_may_be_several_is_an_error_that_lists_them(
    tmp_path: Path, content: dict[str, Any], words: str, choice: str
) -> None:
    torch.save(content, tmp_path / "run.pt")
    with pytest.raises(errors.AmbiguousCheckpointError) as caught:
        parity.load(tmp_path / "run.pt")
    assert words in str(caught.value)
    assert parity.load(tmp_path / "run.pt", inside=choice).keys() == STATE.keys()
    with pytest.raises(errors.NotAStateDictError, match=r"no dictionary 'elsewhere' inside; '.* tensors\)"):
        parity.load(tmp_path / "run.pt", inside="elsewhere")


def test_one_dictionary_under_two_names_is_no_ambiguity(tmp_path: Path) -> None:
    state = tensors()
    torch.save({"model": state, "best_model": state}, tmp_path / "run.pt")
    assert read(tmp_path / "run.pt").selection == Selection(("model",), {"best_model": "the same again"})


@pytest.mark.parametrize(
    "make",
    [
        lambda: {"optimizer": trained()["optimizer"], "epoch": 3},
        lambda: {"model": {"a": torch.ones(2), "extra": None}},
        lambda: {"w": torch.ones(2), "epoch": 3},
        lambda: {"a": {"b": {"c": {"d": tensors()}}}},
    ],
    ids=["an optimiser's alone", "with more than tensors", "flat with a number", "too deep"],
)
def test_where_no_dictionary_holds_tensors_alone_nothing_is_taken(
    tmp_path: Path, make: Callable[[], dict[str, Any]]
) -> None:
    torch.save(make(), tmp_path / "run.pt")
    with pytest.raises(errors.NotAStateDictError, match="is not a flat state dict of dense tensors: '"):
        parity.load(tmp_path / "run.pt")


def test_inside_is_refused_where_there_is_nothing_inside(tmp_path: Path) -> None:
    parity.save_state(tmp_path / "nice.safetensors", STATE)
    with pytest.raises(errors.NotAStateDictError, match="has no dictionaries inside"):
        parity.load(tmp_path / "nice.safetensors", inside="model")
    with pytest.raises(errors.NotAStateDictError, match="no dictionary 'model' inside; none in it"):
        parity.load(save(STATE, tmp_path / "nice.pt"), inside="model")
    torch.save({"model": {"a": torch.ones(2), "extra": None}}, tmp_path / "run.pt")
    with pytest.raises(errors.NotAStateDictError, match="'extra' is a NoneType"):
        parity.load(tmp_path / "run.pt", inside="model")


def test_dictionaries_that_hold_themselves_or_one_another_end(tmp_path: Path) -> None:
    round_and_round: dict[str, Any] = {"model": tensors()}
    round_and_round["again"] = round_and_round
    torch.save(round_and_round, tmp_path / "run.pt")
    assert read(tmp_path / "run.pt").selection.path == ("model",)
    laughs: dict[str, Any] = tensors()
    for _ in range(40):
        laughs = {str(k): laughs for k in range(10)}
    torch.save(laughs, tmp_path / "run.pt")
    with pytest.raises(errors.NotAStateDictError):
        parity.load(tmp_path / "run.pt")


def test_an_optimisers_state_takes_no_memory(tmp_path: Path) -> None:
    moments = {number: {"exp_avg": torch.zeros(1_000_000)} for number in range(8)}
    torch.save({"model": {"w": torch.ones(1000, 100)}, "optimizer": {"state": moments}}, tmp_path / "run.pt")
    tracemalloc.start()
    try:
        with pytest.warns(errors.WrappedCheckpointWarning):
            state = parity.load(tmp_path / "run.pt")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (tmp_path / "run.pt").stat().st_size > 32_000_000
    # The weights, the chunk by which checksums are verified, the pickle.
    assert state["w"].nbytes < peak < state["w"].nbytes + 3_000_000


def test_damage_to_what_is_left_is_noticed_too(tmp_path: Path) -> None:
    moments = np.arange(1000.0)
    torch.save({"model": tensors(), "optimizer": {0: torch.from_numpy(moments)}}, tmp_path / "run.pt")
    content = bytearray((tmp_path / "run.pt").read_bytes())
    content[content.index(moments.tobytes()) + 100] ^= 1
    (tmp_path / "run.pt").write_bytes(content)
    with pytest.raises(errors.CorruptCheckpointError, match="altered since it was written"):
        parity.load(tmp_path / "run.pt")


def test_the_command_line_says_what_was_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(scripted(), tmp_path / "run.pt")
    output = str(tmp_path / "nice.safetensors")
    assert main(["convert", str(tmp_path / "run.pt"), output]) == 0
    said = capsys.readouterr()
    assert said.err.startswith(f"mathdnn: {tmp_path / 'run.pt'}: the state is its 'model_state'; left out: 'epoch' (3)")
    assert said.err.count("\n") == 1
    assert "33 arrays" in said.out
    assert main(["convert", str(tmp_path / "run.pt"), output, "--inside", "model_state"]) == 0
    assert capsys.readouterr().err == ""
    torch.save(AMBIGUOUS[0][0], tmp_path / "two.pt")
    assert main(["convert", str(tmp_path / "two.pt"), output]) == 2
    assert "AmbiguousCheckpointError" in capsys.readouterr().err
    assert main(["convert", str(tmp_path / "two.pt"), output, "--inside", "model"]) == 0


def test_a_certificate_says_what_was_taken(tmp_path: Path) -> None:
    torch.save(lightning(), tmp_path / "run.pt")
    with pytest.warns(errors.WrappedCheckpointWarning):
        certificate = parity.certify(tmp_path / "run.pt", output=tmp_path / "c.json", events=4)
    assert certificate["passed"]
    assert certificate["checkpoint"]["inside"] == ["state_dict"]
    assert certificate["checkpoint"]["left"]["optimizer_states"] == "a list of 1 entries"


def test_a_table_of_the_wrapped_state_takes_the_flat_one(tmp_path: Path) -> None:
    target = {"params": {"fc": {"kernel": np.zeros((4, 3), np.float32)}}}
    whole = {"epoch": 3, "model_state": {"module.fc.weight": torch.randn(3, 4)}}
    torch.save(whole, tmp_path / "run.pt")
    table = parity.infer_rules(whole, target)
    assert (table.wrapper, table.prefix) == (("model_state",), "module.")
    state = parity.load(tmp_path / "run.pt", inside="model_state")
    kernel = parity.convert(state, target, table)["params"]["fc"]["kernel"]
    np.testing.assert_array_equal(kernel, whole["model_state"]["module.fc.weight"].numpy().T)  # type: ignore[index]


FLAX = """
import flax.linen as nn
class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3, name="fc2")(nn.relu(nn.Dense(3, name="fc1")(x)))
"""
TORCH = """
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x)))
class Whole(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = Net()
    def forward(self, x):
        return self.model(x)
"""


@pytest.mark.parametrize("module", ["Net", "Whole"])
def test_certify_takes_lightnings_files_for_either_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], module: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "wrapped_flax.py").write_text(FLAX)
    (tmp_path / "wrapped_torch.py").write_text(TORCH)
    state = {
        f"model.fc{k}.{leaf}": torch.randn(shape) for k in (1, 2) for leaf, shape in (("weight", (3, 3)), ("bias", 3))
    }
    torch.save({"state_dict": state, "epoch": 2, "optimizer_states": [trained()["optimizer"]]}, "run.ckpt")
    names = ["--torch", f"wrapped_torch:{module}", "--flax", "wrapped_flax:Net", "--shape", "3", "--events", "4"]
    assert main(["certify", "run.ckpt", *names]) == 0
    said = capsys.readouterr()
    assert "the state is its 'state_dict'; left out: 'epoch' (2), 'optimizer_states' (a list of 1 entries)" in said.err
    assert "3 of 3 comparisons within the rule" in said.out
