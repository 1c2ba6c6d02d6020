"""The cases that a check tries: a few that every check begins with, then those that hypothesis draws."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import hypothesis.strategies as st
import jax
from hypothesis.strategies import SearchStrategy

from mathdnn_jax.testing.cases import REACH, Case, EventDraw, Tree, TreeDraw, event, float32, is_float, tree
from mathdnn_jax.testing.support import Support

Space = tuple[tuple[int, ...], Support]
"""The shape of an event, and the support of its entries."""

SEEDS = st.integers(0, 2**16)
SMALL = 8
"""Events with at most this many entries are also drawn entry by entry, which shrinks best."""

FIRST = (
    (TreeDraw(), EventDraw()),
    (TreeDraw(), EventDraw(shift=1.0)),
    (TreeDraw(), EventDraw(1.0, 0.0, 1)),
    (TreeDraw(1.0, False, 1), EventDraw()),
    (TreeDraw(1.0, False, 2), EventDraw(1.0, 0.0, 2)),
    (TreeDraw(0.3, False, 3), EventDraw(3.0, 3.0, 3)),
    (TreeDraw(1.0, True, 4), EventDraw(1.0, -3.0, 4)),
    (TreeDraw(3.0, False, 5), EventDraw(6.0, 0.0, 5)),
)
"""The first cases: parameters as given, moved, and multiplied, with events of each kind."""

TREE_DRAWS: SearchStrategy[TreeDraw] = st.one_of(
    st.just(TreeDraw()),
    st.tuples(st.sampled_from([1.0, 0.3, 3.0, 0.03]), st.booleans(), SEEDS).map(lambda drawn: TreeDraw(*drawn)),
)

_Draw = TypeVar("_Draw", TreeDraw, EventDraw)


def case_strategy(
    params: Any, context: Any, events: Space, latents: Space | None, seed: int
) -> tuple[list[Case], SearchStrategy[Case]]:
    """Return the first cases and the strategy for all others.

    There are no first cases if parameters or context are given as a strategy.
    """
    params_strategy, make_params = trees(params, seed)
    context_strategy, make_context = trees(context, seed + 1)

    def case(params: Tree, context: Tree, x: EventDraw, z: EventDraw) -> Case:
        latent = None if latents is None else event(z, *latents)
        return Case(params, context, event(x, *events), latent)

    first = []
    if make_params is not None and make_context is not None:
        first = [case(make_params(tree), make_context(_other(tree)), x, _other(x)) for tree, x in FIRST]
    draws = event_draws(math.prod(events[0]))
    drawn = st.tuples(params_strategy, context_strategy, draws, draws if latents else st.just(EventDraw()))
    return first, drawn.map(lambda parts: case(*parts))


def event_draws(size: int) -> SearchStrategy[EventDraw]:
    """Draw zeros, equal entries, single entries or normal ones: centred or not, tiny or moderately large."""
    entry = st.floats(-REACH, REACH, width=32, allow_subnormal=False).map(lambda value: round(value * 256) / 256)
    kinds = [
        st.just(EventDraw()),
        st.sampled_from([1.0, -1.0, 0.5, 3.0, -3.0]).map(lambda shift: EventDraw(shift=shift)),
        st.tuples(st.sampled_from([1.0, 3.0, 6.0, 2.0**-8]), st.sampled_from([0.0, 3.0, -3.0]), SEEDS).map(
            lambda drawn: EventDraw(*drawn)
        ),
    ]
    if size <= SMALL:
        entries = st.lists(entry, min_size=size, max_size=size)
        kinds.insert(2, entries.map(lambda values: EventDraw(entries=tuple(values))))
    return st.one_of(kinds)


def trees(spec: Any, seed: int) -> tuple[SearchStrategy[Tree], Callable[[TreeDraw], Tree] | None]:
    """Return the strategy that a specification stands for, and the function that makes a tree of a draw.

    A specification is None, a hypothesis strategy, a function key → tree (called under jit), or an example tree. For a
    strategy there is no such function, and None is returned in its place.
    """
    if spec is None:
        return st.none(), lambda _: None
    if isinstance(spec, SearchStrategy):
        return spec.map(lambda drawn: jax.tree.map(lambda leaf: float32(leaf) if is_float(leaf) else leaf, drawn)), None
    # A function is a leaf of itself. A module of Equinox, say, is callable but a tree.
    example = jax.jit(spec)(jax.random.key(seed)) if callable(spec) and jax.tree.leaves(spec) == [spec] else spec

    def make(draw: TreeDraw) -> Tree:
        return tree(draw, example)

    return TREE_DRAWS.map(make), make


def _other(draw: _Draw) -> _Draw:
    return draw._replace(seed=draw.seed + 100)
