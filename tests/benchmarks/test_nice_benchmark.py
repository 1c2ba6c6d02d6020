from __future__ import annotations

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the benchmark runs PyTorch beside JAX")

from benchmarks import on_jax, on_torch  # noqa: E402 (they need torch)
from benchmarks.compare import compare  # noqa: E402
from benchmarks.errors import OutputsDifferError  # noqa: E402
from benchmarks.nice import measure  # noqa: E402
from benchmarks.nice_work import Work, by_jax, by_torch, flops_per_event, prepare  # noqa: E402
from benchmarks.table import nice_table  # noqa: E402
from mathdnn_jax.errors import ConfigurationError  # noqa: E402

TINY = {"dim": 6, "width": 8, "depth": 2, "couplings": 2}


@pytest.fixture(scope="module")
def work() -> Work:
    return prepare(40, None, TINY)


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    return measure(images=20, batches=(8, 20), repeat=3, config=TINY, matmul_size=16)


def compare_sides(work: Work, batch: int = 16) -> dict[str, Any]:
    jax_side = by_jax(work.flow, work.params, work.events, batch)
    return compare(jax_side, by_torch(work.module, work.events, batch), work.truth, 1)


def test_both_sides_compute_every_event_in_order(work: Work) -> None:
    assert work.events.dtype == np.float32
    assert np.array_equal(work.events * 255, np.round(work.events * 255))
    # 40 events in batches of 16 leave a smaller one.
    for side in (by_jax(work.flow, work.params, work.events, 16), by_torch(work.module, work.events, 16)):
        assert side.output().shape == (40,)
        np.testing.assert_allclose(side.output(), work.truth, rtol=1e-5)


def test_the_truth_is_in_float64_and_leaves_the_timed_module_in_float32(work: Work) -> None:
    assert work.truth.dtype == np.float64
    assert {parameter.dtype for parameter in work.module.parameters()} == {torch.float32}
    assert not work.module.training
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), work.params)
        expected = work.flow.log_prob(params, jnp.asarray(work.events.astype(np.float64)))
        np.testing.assert_allclose(work.truth, np.asarray(expected), rtol=1e-13)


def test_a_wrong_weight_is_found_in_jax(work: Work) -> None:
    wrong = jax.tree.map(lambda leaf: leaf, work.params)
    layer = wrong["coupling_1"]["dense_2"]
    layer["bias"] = layer["bias"].at[0].add(1e-3)
    compare_sides(work)
    with pytest.raises(OutputsDifferError, match="jax is off by"):
        compare_sides(work._replace(params=wrong))


def test_a_wrong_weight_is_found_in_pytorch() -> None:
    work = prepare(40, None, TINY)
    with torch.no_grad():
        work.module.scaling.scale[0, 2] += 1e-3
    with pytest.raises(OutputsDifferError, match="torch is off by"):
        compare_sides(work)


def test_one_wrong_event_is_found(work: Work) -> None:
    events = work.events.copy()
    events[-1, 0] += 0.01
    side = by_torch(work.module, events, 16)
    with pytest.raises(OutputsDifferError, match="event 39"):
        compare(by_jax(work.flow, work.params, work.events, 16), side, work.truth, 1)


def test_log_p_depends_on_the_drawn_weights() -> None:
    # On weights as PyTorch draws them the shifts are tiny, and a comparison of log p would compare constants.
    work = prepare(50, None, {"dim": 64, "width": 128, "depth": 5, "couplings": 4})
    nothing = jax.tree.map(jnp.zeros_like, work.params)
    without = by_jax(work.flow, nothing, work.events, 50).output()
    assert np.abs(without - work.truth).min() > 0.05 * np.abs(work.truth).min()


def test_flops_are_those_of_the_dense_layers() -> None:
    config = {"dim": 64, "width": 128, "depth": 3, "couplings": 2}
    work = prepare(32, None, config)
    flops = flops_per_event(work.params)
    assert flops == 2 * 2 * (32 * 128 + 128 * 128 + 128 * 128 + 128 * 32)
    # XLA's own count has biases, activations and the log-density too.
    analysis = jax.jit(work.flow.log_prob).lower(work.params, work.events).cost_analysis()
    assert analysis is not None
    assert flops < analysis["flops"] / len(work.events) < 1.1 * flops


def test_figures_have_their_keys_and_are_consistent(figures: dict[str, Any]) -> None:
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert figures.keys() == {
        *("workload", "config", "weights", "images", "repeat", "flops_per_image", "precision", "torch", "machine"),
        *("matmul", "agreement", "batches"),
    }
    assert figures["config"] == TINY
    assert figures["precision"] == {"dtype": "float32", "jax_matmul": "highest", "torch_matmul": "highest"}
    assert figures["torch"]["threads"] == torch.get_num_threads()
    assert [result["batch"] for result in figures["batches"]] == [8, 20]
    for result in figures["batches"]:
        assert result["torch_over_jax"]["least"] <= result["torch_over_jax"]["median"]
        for name in ("jax", "torch"):
            side = result[name]
            assert len(side["seconds"]) == 3
            assert side["items_per_s"] == pytest.approx(20 / side["median_s"])
            rate = figures["flops_per_image"] * 20 / side["median_s"]
            assert side["matmul_share"] == pytest.approx(rate / figures["matmul"]["flops_per_s"][name])
            assert side["first_call_s"] > 0
        # JAX compiles in its first call.
        assert result["jax"]["first_call_s"] > result["jax"]["median_s"]


def test_table_shows_the_figures(figures: dict[str, Any]) -> None:
    batches = [{**result, "disturbed": False} for result in figures["batches"]]
    table = nice_table({**figures, "batches": batches})
    ratio = figures["batches"][1]["torch_over_jax"]
    assert f"{ratio['median']:.2f} [{ratio['least']:.2f} - {ratio['greatest']:.2f}]" in table
    assert f"{figures['batches'][0]['torch']['items_per_s']:,.0f}" in table
    for expected in ("PyTorch/JAX", "GFLOP/s", "precision highest", figures["machine"]["cpu"], torch.__version__):
        assert expected in table
    assert "DISTURBED" not in table
    assert len(table.splitlines()) == 2 + 1 + 1 + 4 + 1 + 8


def test_table_names_the_batches_that_were_disturbed(figures: dict[str, Any]) -> None:
    quiet, disturbed = figures["batches"]
    batches = [{**quiet, "disturbed": False}, {**disturbed, "disturbed": True}]
    assert "DISTURBED: the times with batch 20 spread more" in nice_table({**figures, "batches": batches})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": 0}, "images=0"),
        ({"repeat": 0}, "repeat=0"),
        ({"batches": ()}, r"given \[\]"),
        ({"batches": (4, 4)}, "each once"),
        ({"batches": (4, 0)}, "given 0"),
        ({"batches": (4, 11, 12)}, "given 11, 12"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        measure(**{"images": 10, "batches": (5,), "config": TINY, "matmul_size": 8, **arguments})


def test_both_precisions_are_set_and_put_back() -> None:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with on_jax.highest_precision(), on_torch.highest_precision():
            assert torch.get_float32_matmul_precision() == "highest"
            assert "HIGHEST" in jax.jit(jnp.matmul).lower(jnp.ones((2, 2)), jnp.ones((2, 2))).as_text()
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_the_work_is_done_in_the_precision_that_is_stated() -> None:
    seen = []

    def say(_: str) -> None:
        precision = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
        seen.append((precision, torch.get_float32_matmul_precision()))

    torch.set_float32_matmul_precision("high")
    try:
        measure(images=4, batches=(4,), repeat=1, config=TINY, matmul_size=8, say=say)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert seen == [("highest", "highest")] * 2


def test_drawing_weights_leaves_the_callers_random_state_alone() -> None:
    state = torch.get_rng_state()
    first = on_torch.draw_state(lambda: torch.nn.Linear(2, 3), 0)
    assert torch.equal(state, torch.get_rng_state())
    torch.rand(1)
    second = on_torch.draw_state(lambda: torch.nn.Linear(2, 3), 0)
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_weights_that_cannot_be_written_are_taken() -> None:
    state = on_torch.draw_state(lambda: torch.nn.Linear(2, 3), 0)
    for array in state.values():
        array.flags.writeable = False
    module = on_torch.module_with(lambda: torch.nn.Linear(2, 3), state)
    assert np.array_equal(module.weight.detach().numpy(), state["weight"])


@pytest.mark.parametrize(("backend", "cuda"), [("gpu", False), ("tpu", True)])
def test_a_comparison_across_kinds_of_device_is_refused(
    monkeypatch: pytest.MonkeyPatch, backend: str, cuda: bool
) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    with pytest.raises(ConfigurationError, match=f"{backend} .* JAX_PLATFORMS=cpu"):
        on_torch.device()


@pytest.mark.parametrize(("backend", "expected"), [("gpu", "cuda"), ("cpu", "cpu")])
def test_pytorch_computes_where_jax_does(monkeypatch: pytest.MonkeyPatch, backend: str, expected: str) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert on_torch.device().type == expected
