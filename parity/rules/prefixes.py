"""What wrappers put into the names of a state: DataParallel, FSDP, torch.compile, moving averages, outer modules."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from parity.containers import MappedState

WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module")
"""The submodules in which torch.compile, FSDP, activation checkpointing and DeepSpeed keep what they wrap."""
PREFIXES = ("module.", "model.", *(f"{name}." for name in WRAPPERS))
"""What all keys may begin with: DataParallel's "module.", most Lightning modules' "model.", and the wrappers."""
AVERAGED = "n_averaged"
"""The count that `torch.optim.swa_utils.AveragedModel` keeps beside its "module."."""


def find_prefix(keys: Collection[str]) -> str:
    """Return what DataParallel and the like put before every key, such as "module.", or ""."""
    prefix = ""
    while True:
        own = [key for key in keys if key.startswith(prefix) and key != prefix + AVERAGED]
        match = [p for p in PREFIXES if own and all(key.startswith(prefix + p) for key in own)]
        if not match or (len(own) < sum(key.startswith(prefix) for key in keys) and match[0] != "module."):
            return prefix
        prefix += match[0]


def counts_beside(keys: Iterable[str], prefix: str) -> dict[str, str]:
    """Return {key: reason} of the counts of averaged models beside the modules that a prefix leads through."""
    return {
        key: "a count of averaged models, beside the average"
        for key in keys
        if not key.startswith(prefix) and key.endswith(AVERAGED) and prefix.startswith(key.removesuffix(AVERAGED))
    }


def without_prefix(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Remove from every key the prefix that DataParallel and the like put before it, and the counts beside it."""
    prefix = find_prefix(list(state))
    if not prefix:
        return state
    beside = counts_beside(state, prefix)
    if isinstance(state, MappedState):
        return state.without(beside).without_prefix(prefix)
    return {key.removeprefix(prefix): value for key, value in state.items() if key not in beside}


def module_prefix(modules: Collection[str], targets: Collection[str]) -> str:
    """Return the outer modules that all of a state's modules are in, such as "encoder.", unless the tree has them too.

    `targets` are the paths of the tree's layers.
    """
    parts = [module.split(".") for module in modules]
    outer = [re.split(r"[/_]", path.lower()) for path in targets]
    prefix = ""
    for k, part in enumerate(parts[0] if parts else []):
        shared = all(len(own) > k + 1 and own[k] == part for own in parts)
        if not shared or any(part.lower() in ("/".join(own), own[0], "_".join(own[:2])) for own in outer):
            break
        prefix += f"{part}."
    return prefix


def without_wrappers(name: str) -> str:
    """Return a name without the wrappers that are in the middle of it, as FSDP and torch.compile leave them."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def own_prefix(prefix: str, keys: Collection[str]) -> str:
    """Return the end of a table's prefix that the module's own keys start with: "module.model.", "model." or ""."""
    while prefix and not all(key.startswith(prefix) for key in keys):
        prefix = prefix.partition(".")[2]
    return prefix


def expand(patterns: Sequence[str] | Collection[str], keys: Collection[str], prefix: str = "") -> list[str]:
    """Return the keys that the patterns stand for, each a key or as in `fnmatch`, with or without the prefix.

    A pattern that no key matches is returned as it is, for the error that names it.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        exact = [key for key in keys if key in (pattern, prefix + pattern)]
        matching = exact or [k for k in keys if fnmatchcase(k, pattern) or fnmatchcase(k, prefix + pattern)]
        found.update(dict.fromkeys(matching or [pattern]))
    return list(found)
