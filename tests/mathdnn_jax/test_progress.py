from __future__ import annotations

import io
import sys

import pytest

from mathdnn_jax.progress import progress


def test_a_pipe_gets_a_few_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("epochs", 1000) as advance:
        for _ in range(1000):
            advance(1)
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [f"epochs: {n} of 1,000" for n in ("250", "500", "750", "1,000")]
    assert captured.out == ""


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress("epochs", 2) as advance:
        advance(1)
        advance(1)
    assert "epochs" in terminal.getvalue()
    assert "\x1b[" in terminal.getvalue()
