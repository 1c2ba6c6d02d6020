"""Comparing names across conventions: `layer1.0.conv1`, `layer1_0/conv1` and `layer1/0/Conv_1` are the same name."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

Tokens = tuple[str, ...]


def tokens(name: str) -> Tokens:
    """The words and numbers of a name, in lower case."""
    return tuple(re.findall(r"[a-z]+|[0-9]+", name.lower()))


def by_name(targets: Collection[str], sources: Collection[str], fits: Mapping[str, Collection[str]]) -> dict[str, str]:
    """{target: source} if every name of one side equals exactly one of the other, and their layers fit; else {}.

    All names must agree: in conv1, conv2 and conv0, conv1, the two conv1 are different layers. If the names do not
    agree as they are, the prefix shared by all names of a side is removed.
    """
    for shorten in (False, True):
        left, right = _canonical(targets, shorten), _canonical(sources, shorten)
        if len(left) == len(targets) and len(right) == len(sources) and left.keys() == right.keys():
            pairs = {left[name]: right[name] for name in left}
            if all(source in fits[target] for target, source in pairs.items()):
                return pairs
    return {}


def _canonical(names: Collection[str], shorten: bool) -> dict[Tokens, str]:
    """{tokens: name}; names that cannot be distinguished share an entry, so that the counts differ."""
    every = {name: tokens(name) for name in names}
    start = _shared(list(every.values())) if shorten else 0
    return {words[start:]: name for name, words in every.items()}


def _shared(names: Sequence[Tokens]) -> int:
    shared = 0
    for words in zip(*names, strict=False):
        if len(set(words)) > 1:
            break
        shared += 1
    return shared
