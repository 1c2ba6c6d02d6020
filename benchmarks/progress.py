"""Progress messages of a command, on standard error."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Print a progress message at once."""
    print(f"benchmarks: {text}", file=sys.stderr, flush=True)
