"""Comparing names across conventions: `layer1.0.conv1`, `layer1_0/conv1` and `layer1/0/Conv_1` are one."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

Tokens = tuple[str, ...]


def tokens(name: str) -> Tokens:
    """Words and numbers of a name, in lower case."""
    return tuple(re.findall(r"[a-z]+|[0-9]+", name.lower()))


def by_name(targets: Collection[str], sources: Collection[str], fits: Mapping[str, Collection[str]]) -> dict[str, str]:
    """{target: source} where every name of either side is that of exactly one of the other which it fits, else {}.

    That all agree is asked for: of conv1, conv2 and conv0, conv1 the two conv1 are different layers. What all names of
    a side begin with is left out where they do not agree with it.
    """
    for shorten in (False, True):
        left, right = _canonical(targets, shorten), _canonical(sources, shorten)
        if len(left) == len(targets) and len(right) == len(sources) and left.keys() == right.keys():
            pairs = {left[name]: right[name] for name in left}
            if all(source in fits[target] for target, source in pairs.items()):
                return pairs
    return {}


def _canonical(names: Collection[str], shorten: bool) -> dict[Tokens, str]:
    """{tokens: name}; of names that cannot be told apart one is lost, so that the counts differ."""
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
