"""Comparing names across conventions: `layer1.0.conv1`, `layer1_0/conv1` and `layer1/0/Conv_1` are the same name."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence

Tokens = tuple[str, ...]

ATTENTION = {
    "q": "query", "wq": "query", "queries": "query", "k": "key", "wk": "key", "keys": "key", "v": "value",
    "wv": "value", "values": "value", "o": "out", "wo": "out", "output": "out",
}  # fmt: skip
"""The words by which the four projections of an attention go, and the word for each here."""
PROJECTIONS = frozenset(ATTENTION.values())
FILLERS = frozenset({"c", "dense", "fc", "layer", "lin", "linear", "proj", "projection", "self", "to", "w"})
"""What stands beside these words and distinguishes nothing: `q_proj`, `to_q`, `q_lin` are all the query's."""


def tokens(name: str) -> Tokens:
    """The words and numbers of a name, in lower case."""
    return tuple(re.findall(r"[^\W\d_]+|[0-9]+", name.lower()))


def roles(name: str) -> Tokens:
    """The words of a name in which the projections of an attention have one word each; a bare `proj` is its output."""
    words = tokens(name)
    kept = tuple(ATTENTION.get(word, word) for word in words if word not in FILLERS)
    bare = not words or words[-1] in FILLERS
    return (*kept, "out") if bare and (not kept or kept[-1] not in PROJECTIONS) else kept


def by_name(targets: Collection[str], sources: Collection[str], fits: Mapping[str, Collection[str]]) -> dict[str, str]:
    """{target: source} if every name of one side equals exactly one of the other, and their layers fit; else {}.

    All names must agree: in conv1, conv2 and conv0, conv1, the two conv1 are different layers. If the names do not
    agree as they are, the prefix shared by all names of a side is removed. A number is a name only together with the
    word before it: `Dense_0` and `Dense_1` have none in common with `0` and `1`.
    """
    for words in (tokens, roles):
        if words is roles and any(not set(roles(name)[-1:]) & PROJECTIONS for name in (*targets, *sources)):
            break
        for shorten in (False, True):
            pairs = _equal(targets, sources, words, shorten)
            if pairs and all(source in fits[target] for target, source in pairs.items()):
                return pairs
    return {}


def _equal(
    targets: Collection[str], sources: Collection[str], words: Callable[[str], Tokens], shorten: bool
) -> dict[str, str]:
    left, right = ({name: words(name) for name in names} for names in (targets, sources))
    if shorten:
        starts = [_shared(list(side.values())) for side in (left, right)]
        stems = [_stem(next(iter(side.values()))[:start]) for side, start in zip((left, right), starts, strict=True)]
        left, right = (
            {name: every[start:] for name, every in side.items()}
            for side, start in zip((left, right), starts, strict=True)
        )
        if stems[0] != stems[1] and any(not rest or rest[0].isdigit() for rest in left.values()):
            return {}
    elif any(rest[:1] and rest[0].isdigit() for rest in left.values()) and words is roles:
        return {}
    # Names that cannot be distinguished share an entry, so that the counts differ.
    here, there = ({rest: name for name, rest in side.items()} for side in (left, right))
    if len(here) != len(targets) or len(there) != len(sources) or here.keys() != there.keys():
        return {}
    return {here[rest]: there[rest] for rest in here}


def _stem(words: Tokens) -> Tokens:
    """The last word and the numbers after it."""
    start = max((k for k, word in enumerate(words) if word.isalpha()), default=0)
    return words[start:]


def _shared(names: Sequence[Tokens]) -> int:
    shared = 0
    for words in zip(*names, strict=False):
        if len(set(words)) > 1:
            break
        shared += 1
    return shared
