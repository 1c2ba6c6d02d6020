"""The function that hostile pickles try to call, so that the judge can tell whether one of them succeeded."""

from __future__ import annotations

sang: list[object] = []


def sing(*arguments: object) -> None:
    """Record the call."""
    sang.append(arguments)
