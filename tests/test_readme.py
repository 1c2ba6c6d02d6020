"""The README's lines run as they stand."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

import parity
from mathdnn_jax import nice
from mathdnn_jax.cli.main import COMMANDS, build_parser, main

# As users compile them they take twice as long, and do the same.
pytestmark = pytest.mark.usefixtures("quick_compilation")

README = Path(__file__).resolve().parents[1] / "README.md"
TEXT = README.read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)

COMMAND = re.compile(r"^\.venv/bin/mathdnn (.*)$", flags=re.MULTILINE)
LINES = [shlex.split(line, comments=True) for line in COMMAND.findall(TEXT)]
"""The commands of the README, as arguments; all but those in running text."""


def test_the_commands_are_in_the_clone_and_their_arguments_are_right() -> None:
    assert not re.search(r"^(mathdnn|python) ", TEXT, flags=re.MULTILINE), "not on the path of a clone"
    assert {line[0] for line in LINES} == set(COMMANDS) - {"demo"}, "`make demo` runs the demo"
    for line in LINES:
        build_parser(line[0]).parse_args(line)


@pytest.mark.long
def test_the_commands_run_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="the demo trains in PyTorch")
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--output", "demo"]) == 0
    for line in LINES:
        # The claims have their own tests, which take minutes.
        arguments = [*line, "--only", "F5.log_det"] if line[0] == "claims" else line
        assert main(arguments) == 0, line


@pytest.mark.parametrize("block", BLOCKS[1:])
def test_the_lines_run_as_pasted(block: str) -> None:
    exec(block, {})


def test_the_demo_makes_everything_and_the_first_lines_run_on_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="the demo trains in PyTorch")
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    folder = tmp_path / "made" / "demo"
    assert main(["demo", "--output", str(folder)]) == 0
    names = ["nice.certificate.json", "nice.pt", "nice.safetensors", "report.html"]
    assert sorted(path.name for path in folder.iterdir()) == names
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 2
    assert "http" not in page
    assert json.loads((folder / "nice.certificate.json").read_text())["passed"]
    out = capsys.readouterr().out
    assert "report.html" in out
    # The detector must have learnt the digits; chance would be 0.5.
    area = float(next(line for line in out.splitlines() if line.startswith("AUROC")).split()[1])
    assert area > 0.99
    state = parity.load(folder / "nice.pt")
    assert parity.convert(state)["scaling"]["log_scale"].shape == (64,)
    assert nice(dim=64, width=64, depth=3).prior.event_shape == (64,)
    monkeypatch.chdir(folder.parent)
    exec(BLOCKS[0], {})
    assert capsys.readouterr().out.split()[1:] == ["(16,", "64)", "True"]
