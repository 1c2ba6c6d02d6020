from __future__ import annotations

import json
import subprocess
import sys

import pytest

from mathdnn_jax.claims import CLAIMS
from mathdnn_jax.cli import main


def test_claims_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "--list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["claims"]
    assert [row["id"] for row in listed] == [claim.id for claim in CLAIMS]
    assert set(listed[0]) == {"id", "statement", "source", "verdict"}
    assert main(["claims", "--list"]) == 0
    said = capsys.readouterr().out
    assert all(claim.id in said for claim in CLAIMS)


def test_a_claim_is_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "--only", "F1.density", "--examples", "7", "--seed", "3", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    (row,) = report["claims"]
    assert report["passed"] is True
    assert (row["id"], row["found"], row["passed"], row["counterexample"]) == ("F1.density", "holds", True, None)
    assert row["examples"] == 7


def test_the_claims_of_a_system_are_checked_in_a_process_of_their_own() -> None:
    # Outside the tests' process, JAX's dtype promotion and warnings are what users have.
    wanted = ["--only", "F1.density", "--only", "C5", "--only", "E7"]
    done = subprocess.run(
        [sys.executable, "-m", "mathdnn_jax", "claims", *wanted, "--examples", "2", "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["claims"]
    found = {row["id"]: (row["found"], row["passed"]) for row in rows}
    assert found == {
        "F1.density": ("holds", True),
        "C5.alexnet": ("holds", True),
        "C5.formula": ("holds", True),
        "E7.indicator": ("refuted", True),
    }


def test_a_refuted_claim_shows_its_counterexample(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "--only", "E7", "--examples", "3"]) == 0
    said = capsys.readouterr().out
    assert "is refuted by" in said
    assert "all as stated" in said


def test_a_claim_that_is_not_as_stated_fails_the_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (wrong,) = [claim._replace(verdict="refuted") for claim in CLAIMS if claim.id == "F1.density"]
    monkeypatch.setattr("mathdnn_jax.claims.CLAIMS", (wrong,))
    assert main(["claims", "--examples", "3"]) == 1
    assert "NOT as stated: F1.density" in capsys.readouterr().out


def test_an_unknown_claim_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "--only", "F99"]) == 2
    assert "no claim has the id F99" in capsys.readouterr().err


def test_a_monte_carlo_test_states_what_it_would_find(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "--only", "F1.sampler", "--json", "--seed", "5"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["claims"]
    (effect,) = row["effects"]
    assert effect["what"] == "distribution function, mean and mean square"
    assert 0 < effect["relative"] < 0.01
    assert row["undecided"] == 0
    assert main(["claims", "--only", "F1.sampler"]) == 0
    said = capsys.readouterr().out
    assert "F1.sampler finds with probability 0.99, in" in said
    assert "an error of 0.00" in said
