"""Signals end a process with the right status, one line and no traceback, also while compiled code runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import mathdnn_jax
from mathdnn_jax.signals import STATUS, stop_on_signals

pytestmark = pytest.mark.usefixtures("heeded_interrupts")
REPOSITORY = Path(mathdnn_jax.__file__).parents[1]
# No handler of Python runs until the hash is computed, which would take minutes.
WORK = "print('ready', flush=True); hashlib.pbkdf2_hmac('sha256', b'', b'', 300_000_000)"
AT_ONCE = f"""
import hashlib, sys
from mathdnn_jax.files import replace_file
from mathdnn_jax.signals import watch_signals
request, _ = watch_signals()
with replace_file(sys.argv[1]) as temporary:
    temporary.write_text("half")
    {WORK}
"""
POSTPONED = f"""
import hashlib
from mathdnn_jax.signals import watch_signals
request, _ = watch_signals()
request.postpone("later")
{WORK}
"""


def begin(code: str, *arguments: object) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().endswith("ready\n")
    return process


@pytest.mark.parametrize("number", STATUS)
def test_a_signal_ends_the_process_where_nothing_can_be_saved(number: signal.Signals, tmp_path: Path) -> None:
    process = begin(AT_ONCE, tmp_path / "out")
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == STATUS[number]
    assert said == f"mathdnn: stopped by {number.name}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", STATUS)
def test_a_postponed_signal_is_said_at_once_and_a_second_one_ends_the_process(number: signal.Signals) -> None:
    process = begin(POSTPONED)
    assert process.stderr is not None
    process.send_signal(number)
    assert process.stderr.readline() == f"mathdnn: {number.name}: later\n"
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == STATUS[number]
    assert said == f"mathdnn: stopped by {number.name}\n"


def test_the_handlers_are_those_from_before_in_the_end(capfd: pytest.CaptureFixture[str]) -> None:
    before = [signal.getsignal(number) for number in STATUS]
    with stop_on_signals() as stop, stop_on_signals() as same:
        assert stop is same
        assert not stop()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
        assert stop.status == 130
    assert [signal.getsignal(number) for number in STATUS] == before
    assert capfd.readouterr().err.count("SIGINT") == 1


def test_ignored_signals_remain_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with stop_on_signals() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            assert not stop()
    finally:
        signal.signal(signal.SIGTERM, before)
