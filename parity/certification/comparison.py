"""Runs two networks on the same inputs, in float32 and in float64, and measures how far their layers are apart."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.errors import ConfigurationError
from parity.certification.measure import Evidence, measure, merge
from parity.nested import kind_of_dtype

PRECISION = "highest"
"""The precision of JAX's matrix products."""

WIDE: dict[str | None, Any] = {"floating": np.float64, "complex": np.complex128}


class Networks(NamedTuple):
    """Two networks that should compute the same, and how their layers correspond.

    Layers are strings or, where their inputs are compared too, `parity.capture.Place`s.
    """

    single: Any
    """The PyTorch module in float32, in eval mode."""
    double: Any
    """The PyTorch module in float64, in eval mode."""
    torch_layers: Callable[..., dict[Any, np.ndarray]]
    """(module, *inputs) → {submodule: output}."""
    jax_layers: Callable[..., dict[Any, Any]]
    """A pure function (variables, *inputs) → {layer: output}, in the order of computation."""
    variables: Any
    """JAX's variables."""
    wide: Any
    """The variables in float64."""
    pair: Callable[[list[Any], Collection[Any]], dict[Any, Any]]
    """(JAX's layers in their order, PyTorch's submodules) → {layer: submodule}, in the order of computation."""
    align: Callable[[Any, Any, np.ndarray, np.ndarray], np.ndarray | None]
    """(layer, submodule, PyTorch's output, JAX's output) → PyTorch's in JAX's layout; None leaves the layer out."""
    computes: Callable[[Any], bool] = lambda _: True
    """layer → whether it must compute in float64 if its variables and inputs are float64."""


class Values(NamedTuple):
    """What the layers computed on a batch: PyTorch in float32 and in float64, and JAX likewise."""

    torch32: Mapping[Any, np.ndarray]
    truth: Mapping[Any, np.ndarray]
    jax32: Mapping[Any, Any]
    jax64: Mapping[Any, np.ndarray]


class Comparison(NamedTuple):
    """The evidence of each layer and the pairs, {layer: PyTorch submodule}, in the order of computation.

    A pair without evidence could not be compared. `values` are those of the last batch.
    """

    evidence: dict[Any, Evidence]
    pairs: dict[Any, Any]
    values: Values


class Batch(NamedTuple):
    """The inputs of both networks, each in its own layout; `first` is the index of the first event among all.

    Of the outputs the first `kept` entries are compared, or all of them if it is None.
    """

    jax: tuple[np.ndarray, ...]
    torch: tuple[np.ndarray, ...]
    first: int = 0
    kept: int | None = None


def compare(networks: Networks, batches: Iterable[Batch]) -> Comparison:
    """Compare all pairs of layers on all batches, of which there is at least one.

    Raises:
        ConfigurationError: a network does not compute in float64 when its variables and inputs are float64.
    """
    order: list[Any] = []

    def in_order(*arguments: Any) -> dict[Any, Any]:
        outputs = networks.jax_layers(*arguments)
        order[:] = outputs  # jit returns them sorted
        return outputs

    run = jax.jit(in_order)
    evidence: dict[Any, Evidence] = {}
    pairs: dict[Any, Any] = {}
    for batch in batches:
        torch32 = networks.torch_layers(networks.single, *batch.torch)
        with jax.default_matmul_precision(PRECISION):
            jax32 = run(networks.variables, *map(jnp.asarray, batch.jax))
            pairs = pairs or networks.pair(order, torch32.keys())
            with jax.enable_x64(True):
                jax64 = _in_float64(run, networks, map(widened_array, batch.jax), order)
        truth = networks.torch_layers(networks.double, *map(widened_array, batch.torch))
        _check_truth(networks, truth, pairs)
        for layer, submodule in pairs.items():
            sides = [networks.align(layer, submodule, side[submodule], jax64[layer]) for side in (truth, torch32)]
            if sides[0] is None or sides[1] is None or not sides[0].size:
                continue
            values = (sides[0], sides[1], np.asarray(jax32[layer]), jax64[layer])
            true, torch_value, jax_value, jax_double = (real_parts(value)[slice(batch.kept)] for value in values)
            found = measure(true, torch_value, jax_value, jax_double, batch.first)
            evidence[layer] = merge(evidence[layer], found) if layer in evidence else found
    return Comparison(evidence, pairs, Values(torch32, truth, jax32, jax64))


def real_parts(array: np.ndarray) -> np.ndarray:
    """Return an array of real or whole numbers with at least one axis: of complex ones both parts."""
    if np.iscomplexobj(array):
        array = np.stack([array.real, array.imag], axis=-1)
    return array if array.ndim else array[None]


def real_numbers(array: np.ndarray) -> np.ndarray:
    """Return `real_parts`, of whole ones as float64."""
    array = real_parts(array)
    return array.astype(np.float64) if array.dtype.kind in "biu" else array


def widened_array(array: np.ndarray) -> np.ndarray:
    """Return float64 for floating-point numbers and complex128 for complex ones; all others are unchanged."""
    kind = kind_of_dtype(array.dtype)
    return array.astype(WIDE[kind]) if kind in WIDE else array


def _in_float64(
    run: Callable[..., dict[Any, Any]], networks: Networks, inputs: Iterable[np.ndarray], order: list[Any]
) -> dict[Any, np.ndarray]:
    try:
        outputs = run(networks.wide, *map(jnp.asarray, inputs))
    except TypeError as error:
        raise ConfigurationError(
            f"the JAX network does not run in float64, which its certificate needs: "
            f"{str(error).splitlines()[0][:300]} — let every dtype follow the variables and inputs, including that of "
            f"a recurrent cell's first carry"
        ) from error
    arrays = {name: np.asarray(value) for name, value in outputs.items()}
    narrow = [name for name in order if _is_narrow(arrays[name]) and networks.computes(name)]
    if narrow:
        raise ConfigurationError(
            f"a certificate needs a JAX network that computes in the dtype of its variables and inputs; its layer "
            f"{narrow[0]} computes in {arrays[narrow[0]].dtype} even if they are float64: leave out dtype= and casts"
        )
    return arrays


def _check_truth(networks: Networks, truth: Mapping[Any, np.ndarray], pairs: Mapping[Any, Any]) -> None:
    narrow = [other for layer, other in pairs.items() if networks.computes(layer) and _is_narrow(truth[other])]
    if narrow:
        raise ConfigurationError(
            f"a certificate needs a PyTorch module that computes in the dtype of its parameters and inputs; its layer "
            f"{narrow[0]} computes in {truth[narrow[0]].dtype} even if they are float64: leave out the cast"
        )


def _is_narrow(array: np.ndarray) -> bool:
    """Return whether these are floating-point or complex numbers of less than double precision."""
    kind = kind_of_dtype(array.dtype)
    return kind in WIDE and array.dtype != WIDE[kind]
