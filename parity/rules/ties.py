"""Keys that share one array: a file may have all of them or, as safetensors' writers prefer, only one."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from parity.containers.checkpoint import State
from parity.rules.table import RuleTable


def with_ties(arrays: Mapping[str, np.ndarray], table: RuleTable, named: Collection[str]) -> tuple[State, RuleTable]:
    """Return the arrays and the table with the ties of this state.

    Where a tied key is not there, the one that it repeats is enough, and the other way round. A key that the table does
    not know, and which is not `named` as ignored, is tied if it repeats the array of one that it uses, entry for entry;
    an array of one value only, such as zeros, may do so by chance, and is not.
    """
    state = dict(arrays)
    tied = {key: first for key, first in table.tied.items() if key in state}
    for key, first in table.tied.items():
        if key in tied and first not in state:
            state[first] = state[key]
    used = dict.fromkeys(key for rule in table.rules for key in rule.sources if key in state)
    for key, array in arrays.items():
        if key not in used and key not in tied and key not in named:
            repeated = [other for other in used if _shared(array, state[other])]
            tied |= {key: repeated[0]} if repeated else {}
    return state, table._replace(tied=tied)


def _shared(first: np.ndarray, second: np.ndarray) -> bool:
    if first.shape != second.shape or first.dtype != second.dtype or first.ndim < 2 or first.size < 2:
        return False
    return first.tobytes() == second.tobytes() and bool((first != first.flat[0]).any())
