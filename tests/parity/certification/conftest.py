"""Fixtures of certificates' tests."""

from __future__ import annotations

import pytest


@pytest.fixture
def no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the search for a likely cause, which runs a network many times, where it is not what is tested."""
    monkeypatch.setattr("parity.certification.causes.likely_cause", lambda *_: None)
