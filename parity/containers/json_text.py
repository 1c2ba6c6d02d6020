"""JSON in untrusted files, in which no name may be given twice: parsers disagree about which of the two is meant."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from parity.display import short
from parity.errors import CorruptCheckpointError


class RepeatedNameError(Exception):
    """An object has a name twice. It is no ValueError, so that it is not taken for text that is not JSON at all."""


def parse_json(path: object, text: str) -> Any:
    """Parse JSON text.

    Raises:
        CorruptCheckpointError: An object in it has a name twice, in one spelling or with escapes in one of them.
        ValueError: It is not JSON.
        RecursionError: It is nested too deeply.
    """
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RepeatedNameError as error:
        raise CorruptCheckpointError(
            f"{path} is damaged: it gives {short(error.args[0])} twice, expected every name once; obtain it again"
        ) from error


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = dict(pairs)
    if len(result) < len(pairs):
        raise RepeatedNameError(_repeated(pairs))
    return result


def _repeated(pairs: Sequence[tuple[str, Any]]) -> str:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            break
        seen.add(name)
    return name
