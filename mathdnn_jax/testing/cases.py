"""How a case is drawn: recipes that hypothesis can shrink, and the arrays they stand for.

Every number drawn is a float32 number, so that a case is the same point in float32 and in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
from hypothesis.strategies import SearchStrategy

from mathdnn_jax.testing.support import Support

Tree = Any
"""A parameter tree or a context: nested containers of arrays; None where there is none."""


class TreeRecipe(NamedTuple):
    """An example tree's float leaves are taken as they are (scale 0), moved by noise, and perhaps multiplied.

    The noise has standard deviation scale / √fan_in, where fan_in counts the entries of all axes but the last. The
    factors are ± powers between 1/8 and 8: negative, large and small values where the example has ones.
    """

    scale: float = 0.0
    multiplied: bool = False
    seed: int = 0


class EventRecipe(NamedTuple):
    """Entries on the whole line before `Support.place`: `shift` + `scale` · normal(seed), or `entries` if given."""

    scale: float = 0.0
    shift: float = 0.0
    seed: int = 0
    entries: tuple[float, ...] | None = None


class Case(NamedTuple):
    """One drawn case: parameters, context, an event, and a latent where its support is known."""

    params: Tree
    context: Tree
    x: np.ndarray
    z: np.ndarray | None


SEEDS = st.integers(0, 2**16)
SMALL = 8
"""Events of at most so many entries are drawn entry by entry too, which shrinks best."""
REACH = 20.0

TREE_RECIPES: SearchStrategy[TreeRecipe] = st.one_of(
    st.just(TreeRecipe()),
    st.tuples(st.sampled_from([1.0, 0.3, 3.0, 0.03]), st.booleans(), SEEDS).map(lambda drawn: TreeRecipe(*drawn)),
)


def event_recipes(size: int) -> SearchStrategy[EventRecipe]:
    """Zeros, equal entries, single entries, normal ones; centred or not, tiny or moderately large."""
    entry = st.floats(-REACH, REACH, width=32, allow_subnormal=False).map(lambda value: round(value * 256) / 256)
    kinds = [
        st.just(EventRecipe()),
        st.sampled_from([1.0, -1.0, 0.5, 3.0, -3.0]).map(lambda shift: EventRecipe(shift=shift)),
        st.tuples(st.sampled_from([1.0, 3.0, 6.0, 2.0**-8]), st.sampled_from([0.0, 3.0, -3.0]), SEEDS).map(
            lambda drawn: EventRecipe(*drawn)
        ),
    ]
    if size <= SMALL:
        entries = st.lists(entry, min_size=size, max_size=size)
        kinds.insert(2, entries.map(lambda values: EventRecipe(entries=tuple(values))))
    return st.one_of(kinds)


def event(recipe: EventRecipe, shape: tuple[int, ...], support: Support) -> np.ndarray:
    """The event that a recipe stands for, inside its support."""
    if recipe.entries is not None:
        line = np.reshape(recipe.entries, shape)
    else:
        noise = np.random.default_rng(recipe.seed).normal(size=shape)
        line = recipe.shift + np.round(recipe.scale * noise * 2**16) / 2**16
    return support.place(np.clip(line, -REACH, REACH))


def tree(recipe: TreeRecipe, example: Tree) -> Tree:
    """The tree that a recipe makes of an example; leaves that are not floating-point stay as they are."""
    rng = np.random.default_rng(recipe.seed)

    def move(leaf: Any) -> Any:
        if not is_float(leaf):
            return leaf
        value = np.asarray(leaf, np.float64)
        if recipe.scale:
            fan_in = max(1, int(np.prod(value.shape[:-1])))
            steps = np.round(rng.normal(size=value.shape) * recipe.scale / np.sqrt(fan_in) * 256)
            # Odd multiples of 2⁻⁹ never take a round number to zero, where a scale would have no logarithm.
            value = value + (2 * steps + 1) / 512
        if recipe.multiplied:
            value = value * np.exp2(rng.uniform(-3, 3, value.shape)) * rng.choice([-1.0, 1.0], value.shape)
        return float32(value)

    return jax.tree.map(move, example)


def trees(spec: Any, seed: int) -> tuple[SearchStrategy[Tree], Callable[[TreeRecipe], Tree] | None]:
    """The strategy that a specification stands for, and how it follows a recipe (None if it is a strategy itself).

    A specification is None, a hypothesis strategy, a function key → tree (called under jit), or an example tree.
    """
    if spec is None:
        return st.none(), lambda _: None
    if isinstance(spec, SearchStrategy):
        return spec.map(lambda drawn: jax.tree.map(lambda leaf: float32(leaf) if is_float(leaf) else leaf, drawn)), None
    # A function is a leaf; a module of Equinox, say, is callable but a tree.
    example = jax.jit(spec)(jax.random.key(seed)) if callable(spec) and jax.tree.leaves(spec) == [spec] else spec

    def follow(recipe: TreeRecipe) -> Tree:
        return tree(recipe, example)

    return TREE_RECIPES.map(follow), follow


def is_float(leaf: Any) -> bool:
    """Whether a leaf is a floating-point number or array, of NumPy, JAX or Python."""
    if isinstance(leaf, float):
        return True
    dtype = getattr(leaf, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, np.floating)


def float32(value: Any) -> np.ndarray:
    """The nearest float32 numbers, as float64; infinite where there are none."""
    with np.errstate(over="ignore"):
        return np.asarray(np.asarray(value, np.float32), np.float64)
