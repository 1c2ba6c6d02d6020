"""Runs two networks on the same inputs, in float32 and in float64, and measures how far their layers are apart."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.errors import ConfigurationError
from parity.certification.measure import Evidence, measure, merge
from parity.rules.targets import widened

PRECISION = "highest"
"""The precision of JAX's matrix products."""


class Networks(NamedTuple):
    """Two networks that should compute the same, and how their layers correspond."""

    single: Any
    """The PyTorch module in float32, in eval mode."""
    double: Any
    """The PyTorch module in float64, in eval mode."""
    torch_layers: Callable[..., dict[str, np.ndarray]]
    """(module, *inputs) → {submodule: output}."""
    jax_layers: Callable[..., dict[str, Any]]
    """A pure function (variables, *inputs) → {layer: output}, in the order of computation."""
    variables: Any
    """JAX's variables."""
    wide: Any
    """The variables in float64."""
    pair: Callable[[list[str], Collection[str]], dict[str, str]]
    """(JAX's layers in their order, PyTorch's submodules) → {layer: submodule}, in the order of computation."""
    align: Callable[[str, str, np.ndarray, np.ndarray], np.ndarray | None]
    """(layer, submodule, PyTorch's output, JAX's output) → PyTorch's in JAX's layout; None leaves the layer out."""


class Batch(NamedTuple):
    """The inputs of both networks, each in its own layout; `first` is the index of the first event among all.

    Of the outputs the first `kept` entries are compared, or all of them if it is None.
    """

    jax: tuple[np.ndarray, ...]
    torch: tuple[np.ndarray, ...]
    first: int = 0
    kept: int | None = None


def compare(networks: Networks, batches: Iterable[Batch]) -> tuple[dict[str, Evidence], dict[str, str]]:
    """Return ({layer: evidence}, {layer: PyTorch submodule}), in the order of computation.

    Raises:
        ConfigurationError: the JAX network does not compute in float64 when its variables and inputs are float64.
    """
    order: list[str] = []

    def in_order(*arguments: Any) -> dict[str, Any]:
        outputs = networks.jax_layers(*arguments)
        order[:] = outputs  # jit returns them sorted
        return outputs

    run = jax.jit(in_order)
    evidence: dict[str, Evidence] = {}
    pairs: dict[str, str] = {}
    for batch in batches:
        torch32 = networks.torch_layers(networks.single, *batch.torch)
        truth = networks.torch_layers(networks.double, *map(widened, batch.torch))
        with jax.default_matmul_precision(PRECISION):
            jax32 = run(networks.variables, *map(jnp.asarray, batch.jax))
            with jax.enable_x64(True):
                jax64 = _in_float64(run, networks.wide, map(widened, batch.jax), order)
        pairs = pairs or networks.pair(order, torch32.keys())
        for layer, submodule in pairs.items():
            sides = [networks.align(layer, submodule, side[submodule], jax64[layer]) for side in (truth, torch32)]
            if sides[0] is None or sides[1] is None:
                continue
            values = (sides[0], sides[1], np.asarray(jax32[layer]), jax64[layer])
            true, torch_value, jax_value, jax_double = (value[slice(batch.kept)] for value in values)
            found = measure(true, torch_value, jax_value, jax_double, batch.first)
            evidence[layer] = merge(evidence[layer], found) if layer in evidence else found
    return evidence, pairs


def _in_float64(
    run: Callable[..., dict[str, Any]], wide: Any, inputs: Iterable[np.ndarray], order: list[str]
) -> dict[str, np.ndarray]:
    try:
        outputs = run(wide, *map(jnp.asarray, inputs))
    except TypeError as error:
        raise ConfigurationError(
            f"the JAX network does not run in float64, which its certificate needs: "
            f"{str(error).splitlines()[0][:300]} — let every dtype follow the variables and inputs, including that of "
            f"a recurrent cell's first carry"
        ) from error
    arrays = {name: np.asarray(value) for name, value in outputs.items()}
    narrow = [name for name in order if arrays[name].dtype == np.float32]
    if narrow:
        raise ConfigurationError(
            f"a certificate needs a JAX network that computes in the dtype of its variables and inputs; its layer "
            f"{narrow[0]} computes in float32 even if they are float64: leave out dtype= and casts"
        )
    return arrays
