from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="a benchmark runs PyTorch beside JAX")

from benchmarks import commands, workloads  # noqa: E402
from benchmarks.case import Case, Settings, Workload  # noqa: E402
from benchmarks.cli import main  # noqa: E402
from benchmarks.frameworks import on_jax, on_torch  # noqa: E402
from benchmarks.frameworks.precision import as_arrays, precision_of_both  # noqa: E402
from benchmarks.run import Options, failed, run  # noqa: E402
from mathdnn_jax.errors import ConfigurationError  # noqa: E402

SEEN: list[tuple[str, str, bool, int, str]] = []


def value() -> np.ndarray:
    precision = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    matmul, cudnn = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    SEEN.append((str(precision), matmul, cudnn, torch.get_num_threads(), ""))
    return np.ones(3)


def cases(settings: Settings) -> Iterator[Case]:
    made = Case("batch 2", 2, "images", value, {"eager": value}, tolerance=0.0, targets={"best": 9.0}, flops=1.0)
    yield made
    yield made._replace(label="wrong", torch={"eager": lambda: np.zeros(3)})
    yield made._replace(label="batch 4")
    raise ValueError("no more")


@pytest.fixture
def catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workloads: one with failing cases, and one that works in every precision."""
    found = {
        "faulty": Workload("faulty", "fails", cases),
        "sound": Workload("sound", "is well", lambda _: iter([next(cases(Settings()))]), ("f32", "bf16")),
    }
    monkeypatch.setattr(workloads, "MODULES", dict.fromkeys(found, "none"))
    monkeypatch.setattr("benchmarks.run.load_workload", found.__getitem__)
    SEEN.clear()


@pytest.mark.usefixtures("catalogue")
def test_a_failure_becomes_a_row_and_the_run_continues() -> None:
    options = Options(("faulty", "sound"), ("f32", "bf16"), 2, Settings(quick=True), "the command")
    written = [json.loads(json.dumps(results, allow_nan=False)) for results in run(options)]
    # Written after each workload in each precision, with all earlier rows.
    assert [len(results["rows"]) for results in written] == [4, 5, 5, 6]
    rows = written[-1]["rows"]
    assert [(row["workload"], row["case"], row["precision"], "error" in row) for row in rows] == [
        ("faulty", "batch 2", "f32", False),
        ("faulty", "wrong", "f32", True),
        ("faulty", "batch 4", "f32", False),
        ("faulty", None, "f32", True),
        ("sound", "batch 2", "f32", False),
        ("sound", "batch 2", "bf16", False),
    ]
    assert rows[1]["error"].startswith("OutputsDifferError")
    assert rows[3]["error"] == "ValueError: no more"
    assert len(failed(written[-1])) == 2
    assert written[-1]["limits"].keys() == {"f32", "bf16"}
    assert rows[0]["floor_s"] == 1.0 / max(written[-1]["limits"]["f32"][name]["matmul"] for name in ("jax", "torch"))
    assert written[-1]["threads"] == {"jax": on_jax.threads(), "torch": on_jax.threads()}
    assert {seen[3] for seen in SEEN} == {on_jax.threads()}
    assert {seen[:3] for seen in SEEN} == {("highest", "highest", False)}


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Records requests to keep freed memory, which the process of the tests does not do."""
    told: list[str] = []

    def keep() -> bool:
        told.append("kept")
        return True

    monkeypatch.setattr(commands, "keep_freed_memory", keep)
    return told


@pytest.mark.usefixtures("catalogue")
def test_freed_memory_is_kept_by_default(tmp_path: Path, kept: list[str]) -> None:
    target = tmp_path / "results.json"
    arguments = ["run", "sound", "--quick", "--repeat", "1", "-o", str(target)]
    assert main(arguments) == 0
    assert (kept, json.loads(target.read_text())["memory_kept"]) == (["kept"], True)
    assert main([*arguments, "--give-memory-back"]) == 0
    results = json.loads(target.read_text())
    assert (kept, results["memory_kept"]) == (["kept"], False)
    assert results["command"].endswith("--quick --give-memory-back")


@pytest.mark.usefixtures("catalogue")
def test_the_status_and_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "results.json"
    assert main(["run", "sound", "--quick", "--repeat", "1", "-o", str(target)]) == 0
    assert (
        json.loads(target.read_text())["command"] == "python -m benchmarks run sound --precision f32 --repeat 1 --quick"
    )
    assert main(["run", "--quick", "--repeat", "1", "-o", str(target)]) == 1
    assert len(json.loads(target.read_text())["rows"]) == 5
    assert "FAILED: OutputsDifferError" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nice"], "there is no workload nice; choose from nice-log-prob"),
        (["nice-step", "--repeat", "0"], "at least once"),
        (["nice-step", "--batch", "4", "0"], "given 0"),
        (["nice-step", "--precision", "f32", "tf32"], "tf32 is a format"),
        (["nice-step", "--backend", "gpu"], "gpu"),
    ],
)
def test_bad_arguments_are_named_before_the_work(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if jax.default_backend() != "cpu":
        pytest.skip("on a GPU these are no mistakes")
    platforms = jax.config.jax_platforms  # type: ignore[attr-defined]
    try:
        assert main(["run", "--quick", *arguments]) == 2
    finally:
        jax.config.update("jax_platforms", platforms)
    error = capsys.readouterr().err
    assert error.startswith("benchmarks: ConfigurationError")
    assert message in error


def test_every_workload_is_in_the_module_that_the_catalogue_names() -> None:
    here = Path(workloads.__file__).parent
    for name, module in workloads.MODULES.items():
        if (here / f"{module}.py").exists():
            assert workloads.load_workload(name).name == name


def test_precisions_are_set_and_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    with precision_of_both("f32"):
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("highest", False)
        assert "HIGHEST" in jax.jit(jnp.matmul).lower(jnp.ones((2, 2)), jnp.ones((2, 2))).as_text()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with precision_of_both("tf32"):
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("high", True)
        assert jax.config.jax_default_matmul_precision == "tensorfloat32"  # type: ignore[attr-defined]
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before
    with pytest.raises(ConfigurationError, match="given 'f16'"), precision_of_both("f16"):
        pass


def test_results_of_either_framework_become_arrays() -> None:
    low = as_arrays((jnp.ones(2, jnp.bfloat16), torch.full((2,), 0.5, dtype=torch.bfloat16), [1.0], torch.arange(2)))
    assert [array.dtype.kind for array in low] == ["f", "f", "f", "i"]
    assert [array.tolist() for array in low] == [[1.0, 1.0], [0.5, 0.5], [1.0], [0, 1]]


@pytest.mark.parametrize(("backend", "cuda"), [("gpu", False), ("tpu", True)])
def test_comparing_different_kinds_of_devices_is_refused(
    monkeypatch: pytest.MonkeyPatch, backend: str, cuda: bool
) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    with pytest.raises(ConfigurationError, match=f"{backend} .* JAX_PLATFORMS=cpu"):
        on_torch.device()


def test_drawing_weights_leaves_the_random_state_of_the_caller_unchanged() -> None:
    state = torch.get_rng_state()
    first: dict[str, Any] = on_torch.draw_state(lambda: torch.nn.Linear(2, 3), 0)
    assert torch.equal(state, torch.get_rng_state())
    for array in first.values():
        array.flags.writeable = False
    module = on_torch.module_with(lambda: torch.nn.Linear(2, 3), first)
    assert np.array_equal(module.weight.detach().numpy(), first["weight"])
