"""A rule table for the module that a state belongs to, whose own keys may lack the state's prefix, or have wrappers."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from parity.rules.prefixes import AVERAGED, counts_beside, find_prefix, own_prefix, without_wrappers
from parity.rules.table import RuleTable


def own_keys(table: RuleTable, names: Iterable[str], keys: Collection[str]) -> dict[str, str]:
    """Return {name: the module's own key} for those of the names that the module has.

    `names` are keys as the table has them, without its prefix, and `keys` are those of the module. The module may be
    the bare one, in which case outer modules' names are left out, or be in wrappers, whose names are put in.
    """
    used = list(dict.fromkeys(key for rule in table.rules for key in rule.sources))
    every = [*used, *names]
    depth = min((key.count(".") for key in used), default=0)
    for prefix in dict.fromkeys((own_prefix(table.prefix, keys), find_prefix(keys), "")):
        own = {without_wrappers(key.removeprefix(prefix)): key for key in keys if key.startswith(prefix)}
        for start in range(depth + 1):
            # Another module's names, such as a moving average's, are left as they are.
            outer = {tuple(key.split(".")[:start]) for key in used}
            found = {
                name: own.get(without_wrappers(".".join(parts[start:])))
                for name in every
                if tuple((parts := name.split("."))[:start]) in outer
            }
            found |= {name: name for name in every if name in keys and name.endswith(AVERAGED)}
            if all(found[key] for key in used) and len({found[key] for key in used}) == len(used):
                return {name: key for name, key in found.items() if key}
    return {}


def for_module(table: RuleTable, keys: Collection[str]) -> RuleTable:
    """Return the table for a module's own state, whose keys these are.

    It has no wrapper, and only that part of the prefix that comes from the module itself. What the table ignores or
    ties and the module does not have is left out. If the rules' keys are not the module's, whatever their prefix, they
    remain as they are, for an error that names them.
    """
    names = own_keys(table, [*table.ignored, *table.tied], keys)
    if not names:
        return table._replace(wrapper=(), prefix=own_prefix(table.prefix, keys))
    prefix = own_prefix(table.prefix, keys)
    beside = counts_beside(keys, find_prefix(keys))
    short = {name: key.removeprefix(prefix) for name, key in names.items()}
    return table._replace(
        rules=tuple(rule._replace(sources=tuple(short[key] for key in rule.sources)) for rule in table.rules),
        ignored={**beside, **{short[key]: why for key, why in table.ignored.items() if key in short}},
        tied={short[key]: short[first] for key, first in table.tied.items() if key in short},
        prefix=prefix,
        wrapper=(),
    )
