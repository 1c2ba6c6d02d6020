from __future__ import annotations

import io
import sys

import pytest

from mathdnn_jax.progress import epoch_progress, progress


def test_a_pipe_gets_a_few_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("epochs", 1000) as advance:
        for _ in range(1000):
            advance(1)
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [f"epochs: {n} of 1,000" for n in ("250", "500", "750", "1,000")]
    assert captured.out == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_training_run_reports_its_epochs_in_at_most_twenty_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with epoch_progress("nice, epochs", 100) as tell:
        # A resumed run begins in the middle.
        for epoch in range(51, 101):
            tell(epoch, f"loss {epoch}")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) <= 20
    assert lines[-1] == "nice, epochs: 100 of 100: loss 100"
    with epoch_progress("nice, epochs", 1, quiet=True) as tell:
        tell(1, "loss 1")
    assert capsys.readouterr().err == ""


def test_a_training_run_on_a_terminal_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with epoch_progress("nice, epochs", 2) as tell:
        tell(1, "loss 3")
        tell(2, "loss 2")
    assert "loss 2" in terminal.getvalue()
    assert "\x1b[" in terminal.getvalue()


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress("epochs", 2) as advance:
        advance(1)
        advance(1)
    assert "epochs" in terminal.getvalue()
    assert "\x1b[" in terminal.getvalue()
