"""What the tests of the command line share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mathdnn_jax.cli.main import main

Refused = Callable[[list[str], str], None]


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Refused:
    """Check that a command ends with status 2 and one message that has these words, and writes nothing else."""

    def check(arguments: list[str], words: str) -> None:
        monkeypatch.chdir(tmp_path)
        assert main(arguments) == 2
        captured = capsys.readouterr()
        assert words in captured.err
        assert "Traceback" not in captured.err
        assert captured.out == ""
        assert list(tmp_path.iterdir()) == []

    return check
