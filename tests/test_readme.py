"""The README's lines run as they stand."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import parity
from mathdnn_jax import nice
from mathdnn_jax.cli.main import main

# As users compile them they take twice as long, and do the same.
pytestmark = pytest.mark.usefixtures("quick_compilation")

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)


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
