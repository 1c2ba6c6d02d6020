"""Compares the gradients of a random linear function of both outputs, with respect to the inputs and every weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.errors import ConfigurationError
from parity.certification.comparison import PRECISION, widened_array
from parity.certification.inputs import Arguments, as_tensors
from parity.certification.measure import Evidence, measure
from parity.certification.outputs import Pair, fitting, moved, moved_back
from parity.certification.torch_side import call
from parity.containers.checkpoint import State
from parity.errors import AmbiguousLayoutError, RuleTableError
from parity.nested import kind_of_dtype, leaves
from parity.rules.conversion import convert_by_table
from parity.rules.table import RuleTable
from parity.rules.targets import rebuild, target_leaves, widened

SEED = 0


class Slopes(NamedTuple):
    """The gradients with respect to the floating-point inputs and to all arrays, by name and by key or path."""

    inputs: dict[str, np.ndarray]
    arrays: State


class Side(NamedTuple):
    """What one network is called with, and the weights of its outputs by path, from which the function is made."""

    arguments: Arguments
    weights: Mapping[str, np.ndarray]

    def wide(self) -> Side:
        """Return the same in float64."""
        arrays = {name: widened_array(array) for name, array in self.arguments.arrays.items()}
        weights = {path: widened_array(array) for path, array in self.weights.items()}
        return Side(self.arguments._replace(arrays=arrays), weights)

    @property
    def learnt(self) -> dict[str, np.ndarray]:
        """The inputs that have gradients."""
        return {n: array for n, array in self.arguments.arrays.items() if kind_of_dtype(array.dtype) == "floating"}


def gradient_evidence(
    single: Any,
    double: Any,
    apply: Callable[..., Any],
    variables: Any,
    arguments: Arguments,
    torch_arguments: Arguments,
    outputs: Sequence[Pair],
    table: RuleTable,
) -> dict[str, Evidence]:
    """Return {"inputs", "params/conv1/kernel", …: evidence} for the gradients of Σ ⟨c, output⟩, c standard normal.

    Of several inputs, they are "inputs/0", "inputs/mask", …. A gradient counts as one event, so float64 alone decides.
    PyTorch's gradients are converted by the rule table, as its weights are. Buffers and whole numbers have no gradient.

    Raises:
        RuleTableError: the table combines or ties sources, so that PyTorch differentiates by other arrays than JAX.
        ConfigurationError: no output has a gradient, or the networks take other numbers of arrays.
        AmbiguousLayoutError: it is not known how an input of PyTorch's becomes JAX's.
    """
    combined = [rule.target for rule in table.rules if rule.combine] + list(table.tied)
    if combined:
        raise RuleTableError(
            f"gradients are compared only if every leaf is one array of PyTorch's, which {', '.join(combined)} is not; "
            f"leave out gradients=, or remove from the PyTorch module what ties or combines its arrays"
        )
    inputs = _inputs(Side(arguments, {}), Side(torch_arguments, {}))
    shapes = dict(leaves(jax.eval_shape(lambda tree, arrays: arguments.call(apply, arrays, tree), variables,
                                        dict(arguments.arrays))))  # fmt: skip
    ours, theirs = _weights(shapes, outputs)
    jax_side, torch_side = Side(arguments, ours), Side(torch_arguments, theirs)
    truth, torch32 = _torch(double, torch_side.wide()), _torch(single, torch_side)
    with jax.default_matmul_precision(PRECISION):
        jax32 = _jax(apply, variables, jax_side)
        with jax.enable_x64(True):
            jax64 = _jax(apply, widened(variables), jax_side.wide())
            true = _moved(truth, variables, table)
    in_jax = _moved(torch32, variables, table)
    learnt = {name for name, _ in single.named_parameters()}
    evidence: dict[str, Evidence] = {}
    for name, other, layout in inputs:
        sides = [moved(side.inputs[other], layout) for side in (truth, torch32)]
        evidence[f"inputs/{name}" if name else "inputs"] = _measure(*sides, jax32.inputs[name], jax64.inputs[name])
    for rule in table.rules:
        if table.prefix + rule.sources[0] in learnt:
            values = (side[rule.target] for side in (true, in_jax, jax32.arrays, jax64.arrays))
            evidence[rule.target] = _measure(*values)
    return evidence


def _weights(shapes: Mapping[str, Any], outputs: Sequence[Pair]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draw c for every leaf of the output that has gradients, by JAX's paths and by PyTorch's."""
    generator = np.random.default_rng(SEED)
    ours, theirs = {}, {}
    for pair in outputs:
        shape, kind = shapes[pair.path].shape, kind_of_dtype(shapes[pair.path].dtype)
        if kind in ("floating", "complex"):
            weights: np.ndarray = generator.standard_normal(shape, dtype=np.float32)
            if kind == "complex":
                weights = weights + np.complex64(1j) * generator.standard_normal(shape, dtype=np.float32)
            ours[pair.path], theirs[pair.other] = weights, moved_back(weights, pair.layout)
    if not ours:
        raise ConfigurationError(
            "gradients= needs an output of floating-point numbers, got whole numbers alone: leave it out"
        )
    return ours, theirs


class Input(NamedTuple):
    """A floating-point input: its names in JAX and in PyTorch, and the layout in which PyTorch's becomes JAX's."""

    name: str
    other: str
    layout: str


def _inputs(ours: Side, theirs: Side) -> list[Input]:
    """Pair the floating-point inputs, by their names or else by their order, and find the layouts by their values."""
    names = ours.learnt if ours.learnt.keys() == theirs.learnt.keys() else theirs.learnt
    if len(names) != len(ours.learnt):
        raise ConfigurationError(
            f"gradients with respect to the inputs are compared only if both networks take the same arrays, got "
            f"{len(ours.learnt)} of floating-point numbers for JAX and {len(names)} for PyTorch; leave out gradients="
        )
    found = []
    for (name, array), other in zip(ours.learnt.items(), names, strict=True):
        given = theirs.learnt[other]
        fits = fitting(given.shape, array.shape)
        equal = [layout for layout in fits if np.array_equal(moved(given, layout), array)]
        if len(equal or fits) != 1 and not equal:
            raise AmbiguousLayoutError(
                f"inputs{f' {name!r}' if name else ''} of shape {array.shape} differ from PyTorch's of shape "
                f"{given.shape}, so it is not known which gradients correspond; leave out gradients="
            )
        found.append(Input(name, other, (equal or fits)[0]))
    return found


def _torch(module: Any, side: Side) -> Slopes:
    import torch

    tensors = as_tensors(side.arguments.arrays)
    inputs = {name: tensors[name].requires_grad_(True) for name in side.learnt}
    # A module that works in place must not do so on a leaf.
    given = {name: tensor.clone() if name in inputs else tensor for name, tensor in tensors.items()}
    output = dict(leaves(call(module, side.arguments, given)))
    value = sum(_torch_product(output[path], torch.from_numpy(np.array(c))) for path, c in side.weights.items())
    parameters = dict(module.named_parameters())
    wanted = {f"input {name}": tensor for name, tensor in inputs.items()}
    wanted |= {name: parameter for name, parameter in parameters.items() if parameter.requires_grad}
    found: Sequence[Any] = (None,) * len(wanted)
    if isinstance(value, torch.Tensor) and value.requires_grad and wanted:
        try:
            found = torch.autograd.grad(value, list(wanted.values()), allow_unused=True)
        except RuntimeError as error:
            raise ConfigurationError(
                f"PyTorch cannot differentiate this module: {str(error).splitlines()[0][:300]} — leave out gradients="
            ) from error
    slopes = {name: slope.numpy() for name, slope in zip(wanted, found, strict=True) if slope is not None}
    arrays = {name: np.zeros(tuple(value.shape), value.numpy().dtype) for name, value in module.state_dict().items()}
    arrays |= {name: slope for name, slope in slopes.items() if name in parameters}
    zeros = {name: np.zeros(tuple(t.shape), t.detach().numpy().dtype) for name, t in inputs.items()}
    return Slopes({name: slopes.get(f"input {name}", zero) for name, zero in zeros.items()}, arrays)


def _torch_product(output: Any, weights: Any) -> Any:
    import torch

    output = torch.as_tensor(output)
    if output.is_complex():
        return (output.real * weights.real).sum() + (output.imag * weights.imag).sum()
    return (output * weights).sum()


def _jax(apply: Callable[..., Any], variables: Any, side: Side) -> Slopes:
    weights = target_leaves(variables)
    learnt = {path: leaf for path, leaf in weights.items() if jnp.issubdtype(leaf.dtype, jnp.floating)}

    def value(flat: dict[str, Any], inputs: dict[str, Any], others: dict[str, Any]) -> Any:
        output = dict(leaves(side.arguments.call(apply, {**others, **inputs}, rebuild(variables, flat))))
        return sum(_jax_product(output[path], weights) for path, weights in side.weights.items())

    others = {name: array for name, array in side.arguments.arrays.items() if name not in side.learnt}
    slopes, inputs = jax.jit(jax.grad(value, argnums=(0, 1)))(learnt, side.learnt, others)
    return Slopes(_arrays(inputs), _arrays(slopes))


def _jax_product(output: Any, weights: np.ndarray) -> Any:
    if np.iscomplexobj(weights):
        return jnp.sum(output.real * weights.real) + jnp.sum(output.imag * weights.imag)
    return jnp.sum(output * weights)


def _arrays(slopes: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(slope) for name, slope in slopes.items()}


def _moved(slopes: Slopes, variables: Any, table: RuleTable) -> dict[str, np.ndarray]:
    tree = convert_by_table(slopes.arrays, variables, table)
    return {path: np.asarray(leaf) for path, leaf in target_leaves(tree).items()}


def _measure(*values: Any) -> Evidence:
    """Measure the truth, PyTorch's, JAX's and JAX's float64 values, each as one event."""
    truth, torch32, jax32, jax64 = (np.asarray(value)[None] for value in values)
    return measure(truth, torch32, jax32, jax64, 0)
