"""Whether a tree already has the values that rules would give it, as the variables in front of a certificate have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np

from parity.rules.combining import combine, part_of
from parity.rules.layouts import LAYOUTS
from parity.rules.table import Rule
from parity.rules.targets import target_leaves


def has_values(arrays: Mapping[str, np.ndarray], variables: Any) -> Callable[[Iterable[Rule]], bool]:
    """A function that says whether leaves are, bit for bit, what rules make of the arrays; shapes have no values."""
    leaves = target_leaves(variables)

    def has(rules: Iterable[Rule]) -> bool:
        return all(_equal(rule, arrays, leaves[rule.target]) for rule in rules)

    return has


def _equal(rule: Rule, arrays: Mapping[str, np.ndarray], leaf: Any) -> bool:
    if not isinstance(leaf, np.ndarray | jax.Array):
        return False
    with np.errstate(all="ignore"):
        whole = part_of(combine(rule, [arrays[key] for key in rule.sources]), rule)
        made = LAYOUTS[rule.layout].to_target(whole, leaf.shape, rule.options)
    return made.dtype == leaf.dtype and made.tobytes() == np.asarray(leaf).tobytes()
