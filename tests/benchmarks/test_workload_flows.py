"""Tiny workloads of flows: contenders agree, and a wrong weight is found."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="a benchmark runs PyTorch beside JAX")

from benchmarks.case import Case, Settings  # noqa: E402
from benchmarks.errors import OutputsDifferError  # noqa: E402 (they need torch)
from benchmarks.frameworks.precision import precision_of_both  # noqa: E402
from benchmarks.harness.measure import measure  # noqa: E402
from benchmarks.workloads import load_workload, nice_model  # noqa: E402
from benchmarks.workloads.torch_flows import ImageFlow  # noqa: E402
from mathdnn_jax.flows import glow, real_nvp  # noqa: E402

QUICK = Settings(quick=True, modes=())
pytestmark = pytest.mark.usefixtures("quick_compilation")


def first_case(name: str, settings: Settings = QUICK) -> Case:
    return next(load_workload(name).cases(settings))


def measured(case: Case, precision: str = "f32") -> dict[str, Any]:
    with precision_of_both(precision):
        return measure(case, 1, precision, quick=True)


@pytest.mark.parametrize("name", ["nice-sample", "nice-epoch", "flow-1d", "plu", "flow-peers", "growth"])
def test_a_workload_runs(name: str) -> None:
    row = measured(first_case(name))
    assert len({**row["contenders"], **row["unable"]}) > 1
    if name != "flow-peers":
        assert row["unable"] == {}
    assert row["contenders"]["jax"]["items_per_s"] > 0


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_nice_in_either_precision(precision: str) -> None:
    settings = QUICK._replace(precision=precision, batches=(3,))
    log_prob, step = first_case("nice-log-prob", settings), first_case("nice-step", settings)
    assert log_prob.jax().dtype == np.dtype("bfloat16" if precision == "bf16" else "float32")
    row = measured(log_prob, precision)
    assert row["case"] == "batch 3"
    assert (row["contenders"]["eager, inference mode"]["error"] > 1e-3) == (precision == "bf16")
    # XLA counts biases, activations and the density too.
    assert row["flops"] < row["xla"]["flops"]
    assert set(measured(step, precision)["contenders"]) == {
        "jax", "eager", "eager, fused Adam", "eager, foreach Adam"
    }  # fmt: skip


def test_a_wrong_weight_is_found_in_either_framework() -> None:
    case, model = first_case("nice-log-prob"), nice_model.prepare(QUICK)
    events, _ = nice_model.on_both(nice_model.images(case.items, model.config["dim"]), "f32")
    wrong = jax.tree.map(lambda leaf: leaf, model.params)
    wrong["coupling_1"]["dense_2"]["bias"] = wrong["coupling_1"]["dense_2"]["bias"].at[0].add(1e-3)
    assert measured(case._replace(jax=lambda: model.flow.log_prob(model.params, events)))
    with pytest.raises(OutputsDifferError, match="jax is off by"):
        measured(case._replace(jax=lambda: model.flow.log_prob(wrong, events)))


def test_log_p_depends_on_the_drawn_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    # With weights as PyTorch draws them the shifts are tiny, and comparing log p would compare constants.
    monkeypatch.setattr(nice_model, "QUICK", {"dim": 64, "width": 128, "depth": 5, "couplings": 4})
    model = nice_model.prepare(QUICK)
    events = nice_model.images(50, 64)
    nothing = jax.tree.map(np.zeros_like, model.params)
    without, log_prob = (np.asarray(model.flow.log_prob(params, events)) for params in (nothing, model.params))
    assert np.abs(without - log_prob).min() > 0.05 * np.abs(log_prob).min()


def test_the_losses_of_a_step_depend_on_its_gradients() -> None:
    case = first_case("nice-step")
    losses, others = np.asarray(case.jax()), case.torch["eager"]()
    assert losses.shape == (3,)
    # A run of steps continues where the last one ended; an epoch starts anew.
    assert np.asarray(case.jax())[0] < losses[0]
    assert float(case.torch["eager"]()[0]) < float(others[0])
    epoch = first_case("nice-epoch")
    np.testing.assert_array_equal(epoch.jax(), epoch.jax())
    assert torch.equal(epoch.torch["eager"](), epoch.torch["eager"]())


@pytest.mark.parametrize(
    ("build", "sizes"), [(real_nvp, {"couplings": 2, "depth": 1}), (glow, {"steps": 1, "depth": 2})]
)
def test_the_image_flows_agree_with_those_of_the_library(build: Any, sizes: dict[str, int]) -> None:
    flow = build((4, 4, 1), width=4, **sizes)
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        drawn = jax.jit(flow.init)(jax.random.key(0))
        params = jax.tree.map(lambda leaf: np.asarray(leaf, float) + 0.1 * rng.standard_normal(leaf.shape), drawn)
        images = rng.random((3, 4, 4, 1))
        log_prob = ImageFlow(params, (4, 4, 1)).log_prob(torch.from_numpy(images)).detach().numpy()
        # In float64: some thousand roundings of 1e-16, and no float32 anywhere.
        np.testing.assert_allclose(np.asarray(jax.jit(flow.log_prob)(params, images)), log_prob, rtol=1e-12)
