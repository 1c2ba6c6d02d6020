"""What hostile pickles call; the judge looks whether they could."""

from __future__ import annotations

sang: list[object] = []


def sing(*arguments: object) -> None:
    """Note the call."""
    sang.append(arguments)
