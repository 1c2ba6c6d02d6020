"""Which cases a check tries: a few that every check begins with, then what hypothesis draws."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import hypothesis.strategies as st
from hypothesis.strategies import SearchStrategy

from mathdnn_jax.testing.cases import Case, EventRecipe, Tree, TreeRecipe, event, event_recipes, trees
from mathdnn_jax.testing.support import Support

Space = tuple[tuple[int, ...], Support]
"""The shape of an event, and where its entries lie."""

FIRST = (
    (TreeRecipe(), EventRecipe()),
    (TreeRecipe(), EventRecipe(shift=1.0)),
    (TreeRecipe(), EventRecipe(1.0, 0.0, 1)),
    (TreeRecipe(1.0, False, 1), EventRecipe()),
    (TreeRecipe(1.0, False, 2), EventRecipe(1.0, 0.0, 2)),
    (TreeRecipe(0.3, False, 3), EventRecipe(3.0, 3.0, 3)),
    (TreeRecipe(1.0, True, 4), EventRecipe(1.0, -3.0, 4)),
    (TreeRecipe(3.0, False, 5), EventRecipe(6.0, 0.0, 5)),
)
"""What comes first: parameters as they are given, moved, and multiplied; events of each kind."""

_Recipe = TypeVar("_Recipe", TreeRecipe, EventRecipe)


def cases(
    params: Any, context: Any, events: Space, latents: Space | None, seed: int
) -> tuple[list[Case], SearchStrategy[Case]]:
    """The first cases, none where parameters or context are a strategy's own, and the strategy of all others."""
    params_strategy, follow_params = trees(params, seed)
    context_strategy, follow_context = trees(context, seed + 1)

    def case(params: Tree, context: Tree, x: EventRecipe, z: EventRecipe) -> Case:
        latent = None if latents is None else event(z, *latents)
        return Case(params, context, event(x, *events), latent)

    first = []
    if follow_params is not None and follow_context is not None:
        first = [case(follow_params(tree), follow_context(_other(tree)), x, _other(x)) for tree, x in FIRST]
    recipes = event_recipes(math.prod(events[0]))
    drawn = st.tuples(params_strategy, context_strategy, recipes, recipes if latents else st.just(EventRecipe()))
    return first, drawn.map(lambda parts: case(*parts))


def _other(recipe: _Recipe) -> _Recipe:
    return recipe._replace(seed=recipe.seed + 100)
