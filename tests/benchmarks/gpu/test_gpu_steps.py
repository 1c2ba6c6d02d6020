"""The findings of the steps: identities within their bounds, claims in turn, rows, and the card."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="a benchmark runs PyTorch beside JAX")

from benchmarks.case import Case, Settings, Workload  # noqa: E402
from benchmarks.errors import PlanError  # noqa: E402 (they need torch)
from benchmarks.frameworks.precision import precision_of_both  # noqa: E402
from benchmarks.gpu import rows as rows_of  # noqa: E402
from benchmarks.gpu.card import ASKED, card  # noqa: E402
from benchmarks.gpu.certificates import SUBJECTS, Subject, certificates  # noqa: E402
from benchmarks.gpu.claims import claims, in_turn  # noqa: E402
from benchmarks.gpu.identities import STEPS, Comparison, in_float64, of_flow, of_small_net, outcome  # noqa: E402
from benchmarks.gpu.plan import Step  # noqa: E402
from mathdnn_jax import nice  # noqa: E402
from mathdnn_jax.claims import CLAIMS, Claim  # noqa: E402
from mathdnn_jax.surgery import remove_batch_norm  # noqa: E402
from parity import certify  # noqa: E402
from parity.errors import CertificationError  # noqa: E402

QUICK = Settings(quick=True, modes=(), stand_in=True)


@pytest.mark.parametrize(
    ("given", "expected", "passed"),
    [
        ([1.0, 2.0], [1.0, 2.1], True),
        ([1.0, 2.0], [1.0, 2.2], False),
        ([np.nan, 2.0], [1.0, 2.0], False),
        ([np.inf, 2.0], [np.inf, 2.0], False),
        ([], [], False),
        ([1.0], [1.0, 1.0], False),
    ],
)
def test_a_comparison_passes_within_its_bound_and_never_without_numbers(
    given: list[float], expected: list[float], passed: bool
) -> None:
    found = outcome(Comparison("x", np.asarray(given), np.asarray(expected), 0.1))
    assert found["passed"] is passed
    assert found["values"] == len(expected)


def test_the_bound_of_a_product_follows_from_its_moves() -> None:
    # z = a x with relative moves of a and x by h: root mean square √2 h |z| for random moves, 2 h |z| towards zero.
    x, step = np.full(4096, 3.0), 2.0**-10
    truth, bounds = in_float64(lambda a, x: {"z": a * x, "q": a / x}, (np.full(4096, 2.0), x), step)
    np.testing.assert_allclose(truth["z"], 6.0)
    assert bounds["z"] == pytest.approx(6 * step * (2 + 1), rel=0.01)
    # Both sides of a quotient shrink alike, so the random moves count.
    assert bounds["q"] == pytest.approx(2 / 3 * step * (np.sqrt(2) + 1), rel=0.05)


def _flow() -> tuple[Any, Any, np.ndarray]:
    flow = nice(6, 8, depth=2, couplings=2)
    leaves, structure = jax.tree.flatten(flow.init(jax.random.key(0)))
    rng = np.random.default_rng(0)
    params = jax.tree.unflatten(structure, [0.5 * rng.standard_normal(leaf.shape, np.float32) for leaf in leaves])
    return flow, params, rng.random((64, 6), np.float32)


@pytest.mark.parametrize("precision", STEPS)
def test_a_flow_holds_in_every_precision(precision: str) -> None:
    with precision_of_both(precision, stand_in=True):
        found = [outcome(comparison) for comparison in of_flow(*_flow())(precision)]
    assert len(found) == 5
    assert all(entry["passed"] for entry in found), found
    if precision == "bf16":
        # The bound is not too wide: the errors reach a tenth of it or more.
        assert max(entry["rms_error"] / entry["bound"] for entry in found if entry["bound"]) > 0.1


@pytest.mark.parametrize(("asked", "computed"), [("f32", "tf32"), ("f32", "bf16")])
def test_a_coarser_precision_than_requested_is_found(
    asked: str, computed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bits = {"tf32": 11, "bf16": 8}[computed]  # of the significand, its first one included

    def coarser(tree: Any, precision: str) -> Any:
        # Tensor cores round arrays to fewer bits; here the arguments are rounded, to fewer bits than requested.
        del precision

        def leaf(value: Any) -> jax.Array:
            mantissa, power = np.frexp(np.asarray(value, np.float32))
            return jnp.asarray(np.ldexp(np.round(mantissa * 2.0**bits) / 2.0**bits, power), jnp.float32)

        return jax.tree.map(leaf, tree)

    flow, params, x = _flow()
    exact = of_flow(flow, params, x)
    truth = {comparison.identity: comparison for comparison in exact(asked)}
    monkeypatch.setattr("benchmarks.gpu.identities.on_jax.cast", coarser)
    off = {comparison.identity: comparison.given for comparison in of_flow(flow, params, x)("f32")}
    found = [outcome(truth[name]._replace(given=off[name])) for name in ("z = f(x)", "∂ log p / ∂x")]
    assert not any(entry["passed"] for entry in found), found


def test_a_folding_that_loses_a_bias_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(outcome(comparison)["passed"] for comparison in of_small_net(True)("f32"))

    def careless(network: Any, variables: Any) -> Any:
        folded, folded_variables, report = remove_batch_norm(network, variables)
        params = jax.tree.map(lambda leaf: leaf, folded_variables["params"])
        params["fc1_0"]["bias"] = 0 * params["fc1_0"]["bias"]
        return folded, {**folded_variables, "params": params}, report

    monkeypatch.setattr("benchmarks.gpu.identities.remove_batch_norm", careless)
    assert [outcome(comparison)["passed"] for comparison in of_small_net(True)("f32")] == [True, False]


def test_claims_are_taken_from_each_system_in_turn() -> None:
    made = [CLAIMS[0]._replace(id=name) for name in ("F1.a", "F1.b", "F2.a", "F1.c", "F2.b")]
    assert [claim.id for claim in in_turn(tuple(made))] == ["F1.a", "F2.a", "F1.b", "F2.b", "F1.c"]
    assert sorted(claim.id for claim in in_turn(CLAIMS)) == sorted(claim.id for claim in CLAIMS)


def test_a_claim_that_fails_or_breaks_is_recorded_and_the_count_says_what_was_decided() -> None:
    def holds() -> None:
        """Hold."""

    def fails() -> None:
        raise AssertionError("1 against 2")

    def breaks() -> None:
        raise ValueError("no such device")

    some = tuple(
        Claim(name, "a statement", "nowhere", "holds", check, {})
        for name, check in (("A.x", holds), ("B.x", fails), ("C.x", breaks), ("D.x", holds))
    )
    left = iter([1.0, 1.0, 1.0, 0.0])
    found = list(claims(rehearsal=False, left=lambda: next(left), some=some))
    assert [(part, value.get("passed")) for part, value in found] == [
        ("claim", True), ("claim", False), ("claim", False), ("claims", None)
    ]  # fmt: skip
    assert found[1][1]["message"] == "1 against 2"
    assert "no such device" in found[2][1]["traceback"]
    assert found[3][1] == {"there_are": 4, "asked": 4, "decided": 3}


def test_a_certificate_that_does_not_pass_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = next(one for one in SUBJECTS if one.model == "autoencoder")
    ((_, found),) = certificates(True, (subject,))
    assert found["passed"]
    assert found["layers"] > 3
    assert found["values"] > 64 * 12

    def departing(*arguments: Any, **options: Any) -> Any:
        certificate = certify(*arguments, **options)
        certificate["passed"] = certificate["layers"][1]["passed"] = False
        raise CertificationError("they differ by more than rounding\nin a layer", certificate)

    monkeypatch.setattr("benchmarks.gpu.certificates.certify", departing)
    ((_, found),) = certificates(True, (subject,))
    assert (found["passed"], found["failure"]) == (False, "they differ by more than rounding")
    assert len(found["departing"]) == 1
    ((_, found),) = certificates(True, (Subject("no-such-model", subject.build, {}, subject.tiny),))
    assert "no-such-model" in found["error"]
    assert "Traceback" in found["traceback"]


def _cases(settings: Settings) -> Iterator[Case]:
    made = Case("batch 2", 2, "images", lambda: np.ones(3), {"eager": lambda: np.ones(3)}, tolerance=0.0, why="slow")
    yield made
    yield made._replace(label="wrong", torch={"eager": lambda: np.zeros(3)})
    yield made._replace(label="batch 4", others={"the course's DataLoader, eager": lambda: np.zeros(3)})
    for batch in settings.batches or ():
        yield made._replace(label=f"batch {batch}")


def _rows(monkeypatch: pytest.MonkeyPatch, **more: Any) -> list[dict[str, Any]]:
    workload = Workload("made", "made for this test", _cases)
    monkeypatch.setattr(rows_of, "load_workload", lambda _: workload)
    step = Step("s", "rows", "", workload="made", **more)
    return [value for _, value in rows_of.rows(step, QUICK, lambda: 100.0)]


def test_a_row_for_each_case_and_one_that_fails_has_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = _rows(monkeypatch)
    assert [(row["case"], "error" in row) for row in rows] == [("batch 2", False), ("wrong", True), ("batch 4", False)]
    assert rows[1]["error"].startswith("OutputsDifferError")
    assert "Traceback" in rows[1]["traceback"]
    # The reasons of a CPU do not apply to a GPU, and contenders that take a minute there are left out.
    assert rows[0]["why"] == ""
    assert rows[2]["contenders"].keys() == {"jax", "eager"}


def test_with_little_time_left_further_cases_are_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    workload = Workload("made", "made for this test", _cases)
    monkeypatch.setattr(rows_of, "load_workload", lambda _: workload)
    found = list(rows_of.rows(Step("s", "rows", "", workload="made"), QUICK, lambda: 3.0))
    assert [(part, value["case"]) for part, value in found] == [
        ("row", "batch 2"), ("left out", "wrong"), ("left out", "batch 4")
    ]  # fmt: skip
    assert found[1][1]["reason"] == "3 s were left"


def test_a_case_that_a_step_names_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [row["case"] for row in _rows(monkeypatch, cases=("batch 4",))] == ["batch 4"]
    with pytest.raises(PlanError, match="made has no case batch 8"):
        _rows(monkeypatch, cases=("batch 4", "batch 8"))


def test_under_flags_of_xla_only_jax_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = _rows(monkeypatch, cases=("batch 2",), environment={"XLA_FLAGS": "--a=b"})
    assert [(row["case"], [*row["contenders"]]) for row in rows] == [("batch 2, XLA_FLAGS=--a=b", ["jax"])]


def test_the_card_is_queried_and_not_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert card() is None
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\necho "$@" > "${0%/*}/asked"\necho "A Card, 580.1, 80 MiB, 700 W, 1980, 2619, 9.0"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    assert card() == dict(zip(ASKED, ("A Card", "580.1", "80 MiB", "700 W", "1980", "2619", "9.0"), strict=True))
    assert (tmp_path / "asked").read_text().split()[0].startswith("--query-gpu=")
    program.write_text("#!/bin/sh\nexit 9\n")
    assert card() is None
    program.write_text("no program\n")
    assert card() is None
