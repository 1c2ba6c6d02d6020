"""A sequential network as a list of its layers in PyTorch, from which follows all else that parity needs to know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mathdnn_jax.nets import Sequential
from parity.errors import WrongModelError
from parity.models.families import NETWORK, Events
from parity.models.model import Config, Model
from parity.rules.checks import CONVOLUTION, COUNTER, SAME, TRANSPOSE, Rule, Shape, Transform

Shapes = Mapping[str, Shape]


class Line(NamedTuple):
    """A PyTorch submodule, and each of its arrays: (its name, the path of the JAX leaf, the change of layout).

    In the paths `{}` stands for the JAX layer, which has the submodule's name with underscores for the dots, but where
    `layer` says otherwise.
    """

    module: str
    arrays: tuple[tuple[str, str, Transform], ...] = ()
    layer: str = ""

    @property
    def name(self) -> str:
        """The JAX layer's name."""
        return self.layer or self.module.replace(".", "_")

    @property
    def rules(self) -> list[Rule]:
        """One for each array."""
        prefix = f"{self.module}." if self.module else ""
        return [Rule(prefix + name, leaf.format(self.name), transform) for name, leaf, transform in self.arrays]


class Read(NamedTuple):
    """A hyperparameter, and the (source key, axis) pairs of which each shows it."""

    size: str
    places: Sequence[tuple[str, int]]


def convolution(module: str) -> Line:
    """A convolution with a bias."""
    return Line(module, (("weight", "params/{}/kernel", CONVOLUTION), ("bias", "params/{}/bias", SAME)))


def dense(module: str, transform: Transform = TRANSPOSE) -> Line:
    """A linear layer with a bias."""
    return Line(module, (("weight", "params/{}/kernel", transform), ("bias", "params/{}/bias", SAME)))


def batch_norm(module: str) -> Line:
    """A batch norm with its running statistics."""
    return Line(
        module,
        (
            ("weight", "params/{}/scale", SAME),
            ("bias", "params/{}/bias", SAME),
            ("running_mean", "batch_stats/{}/mean", SAME),
            ("running_var", "batch_stats/{}/var", SAME),
            ("num_batches_tracked", "batch_stats/{}/num_batches_tracked", COUNTER),
        ),
    )


def network(
    lines: Callable[[Config], Sequence[Line]],
    sizes: Callable[[Shapes, Iterable[str]], Config],
    *,
    full_size: Config,
    build: Callable[..., Sequential],
    events: Callable[[Config], Events],
    twin: Callable[..., Any],
) -> Model:
    """All that parity knows of a sequential network.

    Args:
        lines: the layers that PyTorch has a submodule for, in the order of computation, for given hyperparameters.
        sizes: (shapes of the source arrays by key, names to show in an error) → the hyperparameters.
        full_size: the course's own hyperparameters.
        build: hyperparameters as keywords → the JAX network.
        events: hyperparameters → what the network takes.
        twin: hyperparameters as keywords → the PyTorch module.
    """

    def params_config(flat: Mapping[str, Any]) -> Config:
        # Which layers there are, and the rank of their arrays, does not depend on their sizes.
        table = [rule for line in lines(full_size) for rule in line.rules]
        shapes = {rule.target: np.shape(flat[rule.target]) for rule in table if rule.target in flat}
        known = [r for r in table if r.target in shapes and r.transform.ndim in (None, len(shapes[r.target]))]
        return sizes({rule.source: rule.transform.source_shape(shapes[rule.target]) for rule in known}, flat)

    return Model(
        family=NETWORK,
        infer_config=lambda state: sizes({name: array.shape for name, array in state.items()}, state),
        params_config=params_config,
        rules=lambda config: tuple(rule for line in lines(config) for rule in line.rules),
        build=build,
        events=events,
        twin=twin,
        torch_layers=lambda config: {line.name: line.module for line in lines(config)},
    )


def read_sizes(model: str, wanted: Iterable[Read], shapes: Shapes, names: Iterable[str]) -> dict[str, int]:
    """Read hyperparameters off shapes; where arrays contradict one another the most frequent answer is taken.

    So the odd one out is what the conversion then names as the mistake.

    Raises:
        WrongModelError: nothing shows one of them.
    """
    found = {}
    for size, places in wanted:
        seen = [shapes[key][axis] for key, axis in places if key in shapes and axis < len(shapes[key])]
        if not seen:
            keys = ", ".join(dict.fromkeys(key for _, places in wanted for key, _ in places))
            raise wrong_model(f"this is not a {model}: expected arrays such as {keys}", names)
        found[size] = Counter(seen).most_common(1)[0][0]
    return found


def wrong_model(message: str, names: Iterable[str]) -> WrongModelError:
    """An error that says what was found instead."""
    names = list(names)
    shown = ", ".join(names[:6]) + (f", … ({len(names)} in all)" if len(names) > 6 else "")
    return WrongModelError(f"{message}; found {shown or 'nothing'}")
