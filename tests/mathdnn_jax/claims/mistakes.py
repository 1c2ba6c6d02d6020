"""Mistakes to plant in the functions that claims call: a factor, a sign, a missing term."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from mathdnn_jax.bijectors import Bijector

Mistake = Callable[[Any], Any]


def scaled(factor: float = 1.2) -> Mistake:
    """A function whose result, an array or a tree, is multiplied by a factor."""

    def mistake(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *given, **named: jax.tree.map(lambda leaf: factor * leaf, function(*given, **named))

    return mistake


def tree_times(factor: float) -> Mistake:
    """A tree whose leaves are multiplied by a factor."""
    return lambda tree: jax.tree.map(lambda leaf: factor * leaf, tree)


def shifted(by: float = 0.1) -> Mistake:
    def mistake(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *given, **named: jax.tree.map(lambda leaf: leaf + by, function(*given, **named))

    return mistake


def replaced(other: Any) -> Mistake:
    return lambda _: other


def log_det(factor: float) -> Mistake:
    """A constructor of maps whose log-determinants are multiplied by a factor; also of flows."""

    def wrong(made: Any) -> Any:
        if not isinstance(made, Bijector):
            return made._replace(bijector=wrong(made.bijector))

        def changed(function: Callable[..., Any]) -> Callable[..., Any]:
            def both(*given: Any) -> Any:
                image, reported = function(*given)
                return image, factor * reported

            return both

        return made._replace(forward=changed(made.forward), inverse=changed(made.inverse))

    return lambda constructor: lambda *given, **named: wrong(constructor(*given, **named))


def image(factor: float, side: str = "forward") -> Mistake:
    """A constructor of maps, or of flows, whose map or inverse is multiplied by a factor."""

    def wrong(made: Any) -> Any:
        if not isinstance(made, Bijector):
            return made._replace(bijector=wrong(made.bijector))
        function = getattr(made, side)

        def both(*given: Any) -> Any:
            event, reported = function(*given)
            return factor * event, reported

        changed: dict[str, Any] = {side: both}
        return made._replace(**changed)

    return lambda constructor: lambda *given, **named: wrong(constructor(*given, **named))


def attribute(name: str, mistake: Mistake) -> Mistake:
    """A constructor of named tuples, of which one function is mistaken."""

    def wrong(constructor: Callable[..., Any]) -> Callable[..., Any]:
        def made(*given: Any, **named: Any) -> Any:
            right = constructor(*given, **named)
            return right._replace(**{name: mistake(getattr(right, name))})

        return made

    return wrong


def item(index: int, mistake: Mistake) -> Mistake:
    """A function with a tuple as its result, of which one item is mistaken."""

    def wrong(function: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*given: Any, **named: Any) -> Any:
            items = list(function(*given, **named))
            items[index] = mistake(lambda: items[index])()
            return tuple(items)

        return changed

    return wrong


def params_at(*path: str, factor: float = 1.2) -> Mistake:
    """An estimator of the bound whose gradient with respect to some parameters is multiplied by a factor."""

    def mistake(function: Callable[..., Any]) -> Callable[..., Any]:
        def bound(params: Any, *given: Any, **named: Any) -> Any:
            # The value stays, and the derivative is multiplied.
            def stretched(leaf: jax.Array) -> jax.Array:
                return jax.lax.stop_gradient(leaf) + factor * (leaf - jax.lax.stop_gradient(leaf))

            def changed(node: Any, rest: tuple[str, ...]) -> Any:
                if not rest:
                    return jax.tree.map(stretched, node)
                return {**node, rest[0]: changed(node[rest[0]], rest[1:])}

            return function(changed(params, path), *given, **named)

        return bound

    return mistake


def nested(mistake: Mistake) -> Mistake:
    """A function that returns functions, each of which is mistaken."""
    return lambda constructor: lambda *given: mistake(constructor(*given))


def both_halves(mistake: Mistake) -> Mistake:
    """A function that returns a pair (anything, functions), of which the first function is mistaken."""

    def wrong(constructor: Callable[..., Any]) -> Callable[..., Any]:
        def made(*given: Any) -> Any:
            first, (one, two) = constructor(*given)
            return first, (mistake(one), two)

        return made

    return wrong


def estimator(mistake: Mistake) -> Mistake:
    """The VAE of the claims with a mistaken estimate of the bound."""
    return lambda vae: lambda: vae()._replace(elbo=mistake(vae().elbo))
