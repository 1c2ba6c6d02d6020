"""Rule tables, and the TOML files in which a person can read, edit and commit them: one `[[rule]]` for each leaf."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mathdnn_jax.files import replace_file
from parity.errors import RuleTableError
from parity.rules.layouts import LAYOUTS

FORMAT = "mathdnn rules 1"
COMBINATIONS = {"": 1, "weight_norm": 2, "sum": 2, "spectral_norm": 3}
"""The ways to make one array of several, and of how many."""


class Rule(NamedTuple):
    """The arrays `sources`, after `combine` and then `part`, fill the leaf `target` in the layout called `layout`.

    `combine` is "" for a single source; "weight_norm" for the pair (g, v), whose weight is g v/‖v‖; "spectral_norm" for
    (W, u, v), whose weight is W/(uᵀ W v); "sum" for two biases that PyTorch keeps apart and JAX keeps as one. `part`
    (k, n) takes the k-th of n equal slices along the first axis, such as a gate of an RNN or the queries of an
    attention. `reason` says why the rule is in the table.
    """

    sources: tuple[str, ...]
    target: str
    layout: str
    options: Mapping[str, int] = {}
    part: tuple[int, int] = (0, 1)
    combine: str = ""
    reason: str = ""


class RuleTable(NamedTuple):
    """Which source key fills which target leaf, and what happens to the keys that fill none.

    `wrapper` lists the names of the dictionaries around the arrays, outermost first. `prefix` is what every key begins
    with and the rules leave out, such as DataParallel's "module.". `ignored` maps each key that is left out to the
    reason, and `tied` maps each key that repeats another key's array to that key. All of these keys are written
    without the prefix, except for ignored ones that are beside what has it.
    """

    rules: tuple[Rule, ...]
    ignored: Mapping[str, str] = {}
    tied: Mapping[str, str] = {}
    prefix: str = ""
    wrapper: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The table as TOML."""
        lines = [f"format = {_quoted(FORMAT)}"]
        if self.wrapper:
            lines.append(f"wrapper = [{', '.join(map(_quoted, self.wrapper))}]")
        if self.prefix:
            lines.append(f"prefix = {_quoted(self.prefix)}")
        for heading, mapping in (("ignored", self.ignored), ("tied", self.tied)):
            if mapping:
                lines += ["", f"[{heading}]", *(f"{_quoted(key)} = {_quoted(why)}" for key, why in mapping.items())]
        for rule in self.rules:
            lines += ["", "[[rule]]", *_rule_lines(rule)]
        return "\n".join(lines) + "\n"


def read_rules(path: str | os.PathLike[str]) -> RuleTable:
    """Read a table from a TOML file.

    Returns:
        The table, which `convert`, `export` and `certify` take.

    Raises:
        RuleTableError: there is no such file, it is not TOML, or it is not a rule table.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise RuleTableError(f"the rule table {path} cannot be read: {error}") from error
    return parse_rules(text)


def write_rules(path: str | os.PathLike[str], table: RuleTable) -> None:
    """Write a table as a TOML file, completely or not at all.

    Returns:
        Nothing; `read_rules` reads the file.

    Raises:
        OutputError: the file cannot be written.
    """
    with replace_file(path) as temporary:
        temporary.write_text(table.text, encoding="utf-8")


def parse_rules(text: str) -> RuleTable:
    """Parse the text of a TOML file.

    Raises:
        RuleTableError: it is not TOML, or not a rule table; the message says where.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RuleTableError(f"a rule table is a TOML file, and this is not TOML: {error}") from error
    unknown = sorted(set(content) - {"format", "wrapper", "prefix", "ignored", "tied", "rule"})
    if content.get("format") != FORMAT or unknown:
        raise RuleTableError(
            f"a rule table begins with format = {FORMAT!r} and has wrapper, prefix, ignored, tied and [[rule]]; "
            f"got format = {content.get('format')!r}{f' and {unknown}' if unknown else ''}"
        )
    rules = content.get("rule", [])
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise RuleTableError("each rule of a table has the heading [[rule]], with two brackets")
    prefix, wrapper = content.get("prefix", ""), content.get("wrapper", [])
    if not isinstance(prefix, str) or not _strings(wrapper):
        raise RuleTableError(f"prefix is a string and wrapper a list of strings, got {prefix!r} and {wrapper!r}")
    mappings = {name: content.get(name, {}) for name in ("ignored", "tied")}
    for name, mapping in mappings.items():
        if not isinstance(mapping, dict) or not _strings(list(mapping.values())):
            raise RuleTableError(f"[{name}] maps source keys, in quotation marks, to strings; got {mapping!r}")
    return RuleTable(tuple(map(_rule, rules)), mappings["ignored"], mappings["tied"], prefix, tuple(wrapper))


def _rule(content: Mapping[str, Any]) -> Rule:
    """Check one rule."""
    source, target, layout = (content.get(name) for name in ("source", "target", "layout"))
    sources = [source] if isinstance(source, str) else source
    known = {"source", "target", "layout", "part", "combine", "reason"}
    if not (_strings(sources) and sources and isinstance(target, str) and isinstance(layout, str)):
        raise RuleTableError(f"a rule has a source (or a list of two), a target and a layout; got {dict(content)}")
    if layout not in LAYOUTS:
        raise RuleTableError(f"{target}: there is no layout {layout!r}; there are {', '.join(LAYOUTS)}")
    wanted = set(LAYOUTS[layout].options)
    if set(content) - known != wanted:
        raise RuleTableError(
            f"{target}: besides {', '.join(sorted(known))}, a rule of layout {layout!r} has "
            f"{', '.join(sorted(wanted)) or 'nothing'}; got {', '.join(sorted(set(content) - known)) or 'nothing'}"
        )
    options = {name: content[name] for name in sorted(wanted)}
    if not all(_whole(value, 1) for value in options.values()):
        raise RuleTableError(f"{target}: options are whole numbers of at least 1, got {options}")
    part, combine, reason = content.get("part", [0, 1]), content.get("combine", ""), content.get("reason", "")
    if not (isinstance(part, list) and len(part) == 2 and all(_whole(k, 0) for k in part) and part[0] < part[1]):
        raise RuleTableError(f"{target}: part is [k, n] with 0 <= k < n, got {part!r}")
    if len(sources) != COMBINATIONS.get(combine if isinstance(combine, str) else "?"):
        raise RuleTableError(
            f"{target}: a rule has 1 source, 2 sources with combine = 'weight_norm' or 'sum', or 3 sources with "
            f"combine = 'spectral_norm'; got {source} and combine = {combine!r}"
        )
    return Rule(tuple(sources), target, layout, options, (part[0], part[1]), combine, str(reason))


def _rule_lines(rule: Rule) -> list[str]:
    names = [_quoted(name) for name in rule.sources]
    lines = [
        f"source = {names[0] if len(names) == 1 else f'[{chr(44).join(names)}]'}",
        f"target = {_quoted(rule.target)}",
        f"layout = {_quoted(rule.layout)}",
        *(f"{name} = {value}" for name, value in rule.options.items()),
    ]
    if rule.combine:
        lines.append(f"combine = {_quoted(rule.combine)}")
    if rule.part != (0, 1):
        lines.append(f"part = [{rule.part[0]}, {rule.part[1]}]")
    if rule.reason:
        lines.append(f"reason = {_quoted(rule.reason)}")
    return lines


def _quoted(text: str) -> str:
    # A JSON string is also a TOML string, except that TOML wants DEL escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
