"""An error as the results file records it."""

from __future__ import annotations

import traceback


def as_record(error: Exception) -> dict[str, str]:
    """Return the type and the message of an error, and its traceback."""
    return {"error": f"{type(error).__name__}: {error}", "traceback": "".join(traceback.format_exception(error))}
