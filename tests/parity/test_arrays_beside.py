"""Arrays beside the only dictionary of tensors alone: they may be the weights, however they are kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import parity
from parity import errors
from parity.containers.budget import ALLOWANCE, Budget
from parity.containers.checkpoint import read
from parity.containers.objects import Storage, Tensor
from parity.containers.wrapped import find_state

torch = pytest.importorskip("torch", reason="PyTorch checkpoints are written by PyTorch")


def weights() -> dict[str, Any]:
    return {"fc.weight": torch.ones(2, 2), "fc.bias": torch.ones(2)}


def numbered() -> dict[int, Any]:
    """What an optimiser keeps for its first two parameters."""
    return {k: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(2, 2)} for k in range(2)}


BESIDE: dict[str, tuple[Callable[[], Any], str]] = {
    "a dictionary with a number": (lambda: {**weights(), "step": 3}, "a dict of 3 entries with 2 arrays"),
    "one with an extra state": (lambda: {**weights(), "_extra_state": {"a": 1}}, "a dict of 3 entries with 2 arrays"),
    "a list": (lambda: list(weights().values()), "a list of 2 entries with 2 arrays"),
    "a tuple": (lambda: ("fc", torch.ones(2)), "a tuple of 2 entries with 1 arrays"),
    "numbered arrays": (lambda: dict(enumerate(weights().values())), "a dict of 2 entries with 2 arrays"),
    "dictionaries in a list": (lambda: {"layers": [weights(), weights()]}, "a dict of 1 entries with 4 arrays"),
    "a dictionary five deep": (lambda: {"b": {"c": {"d": {"e": weights()}}}}, "a dict of 1 entries with 2 arrays"),
    "sparse arrays": (lambda: [torch.ones(2, 2).to_sparse()], "a list of 1 entries with 1 arrays"),
    "a sparse array": (lambda: torch.ones(2, 2).to_sparse(), "a _rebuild_sparse_tensor"),
    "numbered arrays without groups": (lambda: {"state": numbered()}, "a dict of 1 entries with 2 arrays"),
    "named arrays of an optimiser": (
        lambda: {"optimizer": {"flat": [torch.ones(2)]}},
        "a dict of 1 entries with 1 arrays",
    ),
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("case", BESIDE)
def test_what_may_be_the_weights_is_never_passed_over(tmp_path: Path, case: str, legacy: bool) -> None:
    make, words = BESIDE[case]
    content = {"beside": make(), "norm": {"mean": torch.zeros(2)}}
    torch.save(content, tmp_path / "run.pt", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(errors.AmbiguousCheckpointError) as caught:
        parity.load(tmp_path / "run.pt")
    assert f"weights too: 'beside' ({words}); if they are not, select inside='norm'" in str(caught.value)
    assert parity.load(tmp_path / "run.pt", inside="norm").keys() == {"mean"}


OPTIMISERS: dict[str, Callable[[], dict[str, Any]]] = {
    "nested": lambda: {"optimizer": {"state": numbered(), "param_groups": [{"lr": 0.1, "params": [0, 1]}]}},
    "with the parameters' names": lambda: {
        "optimizer": {"state": {"fc.weight": {"exp_avg": torch.zeros(2, 2)}}, "param_groups": []}
    },
    "by any name": lambda: {"b": [{"c": {"state": numbered(), "param_groups": []}}]},
    "at the top": lambda: {"state": numbered(), "param_groups": []},
    "by its name alone": lambda: {"d_Optimizers": [{"state": numbered()}], "optimiser": numbered()},
}


@pytest.mark.parametrize("case", OPTIMISERS)
def test_what_an_optimiser_keeps_for_each_parameter_is_left_out(tmp_path: Path, case: str) -> None:
    beside = {"history": [0.5] * 1000, "best": [torch.tensor(0.5)], "order": [torch.arange(3)]}
    torch.save({"model": weights(), **OPTIMISERS[case](), **beside}, tmp_path / "run.pt")
    assert read(tmp_path / "run.pt").selection.path == ("model",)


def test_a_model_called_state_is_none_of_an_optimisers(tmp_path: Path) -> None:
    torch.save({"state": weights(), "param_groups": []}, tmp_path / "run.pt")
    assert read(tmp_path / "run.pt").selection.path == ("state",)
    torch.save({"state": [torch.ones(2)], "param_groups": [], "model": weights()}, tmp_path / "run.pt")
    with pytest.raises(errors.AmbiguousCheckpointError, match="'state'"):
        parity.load(tmp_path / "run.pt")


def test_what_an_optimiser_shares_with_others_counts(tmp_path: Path) -> None:
    shared = {"a": {0: torch.ones(2)}}
    torch.save({"model": weights(), "optimizer": shared, "b": shared}, tmp_path / "run.pt")
    with pytest.raises(errors.AmbiguousCheckpointError, match=r"too: 'b' \(a dict of 1 entries with 1 arrays\);"):
        parity.load(tmp_path / "run.pt")


def test_the_state_itself_again_inside_others_is_no_ambiguity(tmp_path: Path) -> None:
    state = weights()
    torch.save({"run": {"model": state}, "all": [state, {"again": {"and": {"again": state}}}]}, tmp_path / "run.pt")
    assert read(tmp_path / "run.pt").selection.path == ("run", "model")


def test_searching_beside_a_state_is_paid_and_each_container_is_searched_once() -> None:
    value = Tensor(Storage("x", "0", 1), "x", 0, (), ())
    used = []
    several: tuple[list[Any], ...] = ([], [None] * 1000, [[]] * 1000)
    for beside in several:
        budget = Budget(0)
        find_state("x", {"model": {"w": value}, "beside": beside}, None, budget.pay)
        used.append(ALLOWANCE - budget.left)
    # A glance at each entry, and then more for each that is a container.
    assert used[1] - used[0] == 500
    assert used[2] - used[1] >= 4000
    laughs: list[Any] = [1.0]
    for _ in range(40):
        laughs = [laughs] * 10
    laughs.append(laughs)
    start = time.perf_counter()
    find_state("x", {"model": {"w": value}, "beside": laughs}, None, Budget(0).pay)
    deep: list[Any] = []
    for _ in range(50_000):
        deep = [deep, {"a": 1}]
    find_state("x", {"model": {"w": value}, "beside": deep}, None, Budget(0).pay)
    assert time.perf_counter() - start < 10
