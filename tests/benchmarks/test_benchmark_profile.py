from __future__ import annotations

import re

import pytest

torch = pytest.importorskip("torch", reason="a benchmark runs PyTorch beside JAX")

import jax  # noqa: E402 (it needs torch)
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from benchmarks import commands  # noqa: E402
from benchmarks.case import Case  # noqa: E402
from benchmarks.cli import main  # noqa: E402
from benchmarks.frameworks.costs import Cost, Profile  # noqa: E402
from benchmarks.frameworks.profile_jax import _short  # noqa: E402
from benchmarks.harness.profiling import profile_case, profile_table  # noqa: E402


def test_a_profile_names_the_operations_of_the_case() -> None:
    x = np.ones((300, 300), np.float32)
    on_jax, on_torch = jnp.asarray(x), torch.from_numpy(x)

    def by_jax() -> np.ndarray:
        return np.asarray(jnp.tanh(on_jax @ on_jax))

    case = Case("x", 1, "products", by_jax, {"eager": lambda: (on_torch @ on_torch).tanh().numpy(), "other": by_jax})
    found = dict(profile_case(case))
    assert found.keys() == {"JAX", "PyTorch eager"}
    for profile in found.values():
        assert sum(cost.seconds for cost in profile.costs) > 0
        assert [cost.seconds for cost in profile.costs] == sorted(
            (cost.seconds for cost in profile.costs), reverse=True
        )
    ours = " ".join(cost.operation for cost in found["JAX"].costs)
    assert "f32[300,300] dot_general" in ours
    assert "tanh" in ours
    assert {"aten::mm", "aten::tanh"} <= {cost.operation for cost in found["PyTorch eager"].costs}


def test_the_shapes_are_those_of_the_profiled_case() -> None:
    def case(rows: int) -> Case:
        x, apply = jnp.ones((rows, 40)), jax.jit(lambda x: x @ x.T)
        return Case("x", 1, "products", lambda: np.asarray(apply(x)), {})

    for rows in (30, 50):
        assert f"f32[{rows},{rows}] dot_general" in profile_table(dict(profile_case(case(rows))))


def test_an_operation_is_named_by_the_end_of_its_path() -> None:
    assert _short("jit(f)/while/body/fc1/fc1._apply/dot_general") == "fc1/fc1._apply/dot_general"
    assert _short("variables[\\'params\\'][\\'kernel\\']") == "variables['params']['kernel']"


def test_the_table_has_a_line_for_each_of_the_most_expensive_operations() -> None:
    costs = tuple(Cost(name, seconds, 2) for name, seconds in (("dot", 3e-3), ("add", 1e-3), ("copy", 0.0)))
    lines = profile_table({"JAX": Profile(5e-3, costs)}, rows=2).splitlines()
    assert lines[0] == "JAX: 5 ms; under the profiler, its operations take 4"
    assert [line.split() for line in lines[1:]] == [
        ["3.000", "ms", "75%", "2", "x", "dot"],
        ["1.000", "ms", "25%", "2", "x", "add"],
    ]


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(commands, "keep_freed_memory", lambda: True)
    assert main(["profile", "nice-step", "--quick", "--batch", "3", "5", "--rows", "2"]) == 0
    out = capsys.readouterr().out
    assert re.findall(r"^nice-step, (.*)$", out, re.MULTILINE) == ["batch 3", "batch 5"]
    assert out.count(" x  ") == 8
    assert main(["profile", "nice-step", "--rows", "0"]) == 2
    for arguments, said in (
        (["nise"], "there is no workload nise"),
        (["nice-step", "--batch", "0"], "at least one item"),
        (["glow-step", "--precision", "bf16"], "glow-step supports f32, tf32"),
    ):
        assert main(["profile", *arguments]) == 2
        assert said in capsys.readouterr().err
