"""What a network does with each of its arrays, read off its trace: when, as what, and behind which flattening.

Nothing is computed. The trace is that of `jax.make_jaxpr`, so that any function will do: Linen, NNX, or by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.extend as jex

from parity.inference.provenance import Intermediate, Leaf, intermediate_after, leaf_after
from parity.nnx_calls import nnx_calls
from parity.rules.targets import target_leaves, with_paths


class Use(NamedTuple):
    """How an array is first used.

    `kind` is "linear", "linear_untransposed" (contracted along its second axis, as PyTorch keeps it), "convolution",
    "transposed_convolution", "lookup" or "other"; "convolution?" where the trace alone does not tell the two apart.
    Of a linear layer, `flat` is what it sees: None where that is not known, else (how many channels a flattened image
    had, whether they vary fastest); (1, True) where nothing was flattened.
    """

    order: int
    kind: str
    flat: tuple[int, bool] | None = None
    groups: int = 1


def trace(apply: Callable[..., Any], variables: Any, *inputs: Any) -> dict[str, Use]:
    """{path: its first use} of every array that `apply(variables, *inputs)` uses; inputs may be shapes alone."""
    classes: dict[str, str] = {}

    def watched(tree: Any, *arguments: Any) -> Any:
        with nn.intercept_methods(_classes(classes)), nnx_calls(tree, partial(_nnx_class, classes)):
            return apply(tree, *arguments)

    closed = jax.make_jaxpr(watched)(variables, *inputs)
    weights = target_leaves(variables)
    walk = _Walk()
    known: list[Any] = [
        Leaf(path, tuple(range(leaf.ndim))) if path in weights else None for path, leaf in with_paths(variables)
    ]
    # Images come with their channels last; of three axes nobody knows.
    known += [
        Intermediate(array.ndim - 1 if array.ndim >= 4 else None, (1, True) if array.ndim == 2 else None)
        for array in jax.tree.leaves(inputs)
    ]
    walk.run(closed.jaxpr, known)
    return {path: _decided(path, use, classes) for path, use in walk.uses.items()}


class _Walk:
    """Follows arrays through a jaxpr and all that it calls."""

    def __init__(self) -> None:
        self.uses: dict[str, Use] = {}

    def run(self, jaxpr: Any, known: list[Any]) -> list[Any]:
        environment = dict(zip(jaxpr.invars, known, strict=True))

        def read(atom: Any) -> Any:
            return None if isinstance(atom, jex.core.Literal) else environment.get(atom)

        for equation in jaxpr.eqns:
            operands = [read(atom) for atom in equation.invars]
            results = self._step(equation, operands)
            environment.update(zip(equation.outvars, results, strict=False))
        return [read(atom) for atom in jaxpr.outvars]

    def _step(self, equation: Any, operands: list[Any]) -> list[Any]:
        name, parameters = equation.primitive.name, equation.params
        inner = parameters.get("jaxpr", parameters.get("call_jaxpr"))
        if name == "scan":
            # A loop's slices have lost an axis; of its constants all holds.
            constants = _constants(parameters)
            operands = operands[:constants] + [o if isinstance(o, Leaf) else None for o in operands[constants:]]
        if name == "cond":
            # The last is what all platforms have in common, where an algorithm is chosen by platform.
            results = [self.run(branch.jaxpr, operands[1:]) for branch in reversed(parameters["branches"])]
            return results[0]
        if name == "while":
            skipped = parameters["cond_nconsts"]
            self.run(parameters["body_jaxpr"].jaxpr, operands[skipped:])
            return [None] * len(equation.outvars)
        if inner is not None:
            inner = getattr(inner, "jaxpr", inner)
            if len(inner.invars) == len(operands):
                results = self.run(inner, operands)
                return results if name != "scan" else [None] * len(results)
        moved = leaf_after(equation, operands)
        if moved is not None:
            return [moved]
        self._record(equation, operands)
        return [intermediate_after(equation, operands, variable) for variable in equation.outvars]

    def _record(self, equation: Any, operands: list[Any]) -> None:
        for position, operand in enumerate(operands):
            if isinstance(operand, Leaf) and operand.path not in self.uses:
                kind, flat, groups = _kind(equation, operands, position)
                self.uses[operand.path] = Use(len(self.uses), kind, flat, groups)


def _constants(parameters: dict[str, Any]) -> int:
    """How many of a loop's operands are constants: JAX 0.12 has (constants, carry, slices) where 0.10 has the count."""
    if "num_consts" in parameters:
        return int(parameters["num_consts"])
    return len(parameters["ft_in"].unpack()[0])


def _kind(equation: Any, operands: list[Any], position: int) -> tuple[str, tuple[int, bool] | None, int]:
    name, parameters, leaf = equation.primitive.name, equation.params, operands[position]
    if name == "conv_general_dilated" and position == 1:
        dilated = any(n != 1 for n in parameters["lhs_dilation"])
        return "transposed_convolution" if dilated else "convolution?", None, parameters["feature_group_count"]
    if name == "dot_general":
        contracting, _ = parameters["dimension_numbers"]
        other = operands[1 - position]
        flat = other.flat if isinstance(other, Intermediate) else None
        if isinstance(other, Intermediate) and (other.channels,) == tuple(contracting[1 - position]):
            flat = (1, True)  # the channels alone, of every pixel
        if leaf.axes is not None and len(leaf.axes) == 2 and len(contracting[position]) == 1:
            return ("linear", "linear_untransposed")[leaf.axes[contracting[position][0]]], flat, 1
        return "linear", flat, 1
    return ("lookup" if name == "gather" and position == 0 else "other"), None, 1


def _classes(classes: dict[str, str]) -> Callable[..., Any]:
    """Notes the class of each Linen module that is called, by its path."""

    def note(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        module = context.module
        classes["/".join(module.path)] = _class(getattr(module, "layer", module))
        return call(*args, **kwargs)

    return note


def _nnx_class(classes: dict[str, str], module: Any, path: str, result: Any) -> None:
    del result
    classes[path] = _class(module)


def _class(module: Any) -> str:
    name = type(module).__name__
    return f"{name}Kept" if name == "ConvTranspose" and getattr(module, "transpose_kernel", False) else name


def _decided(path: str, use: Use, classes: Mapping[str, str]) -> Use:
    """A stride-1 transposed convolution looks like a convolution in a trace; the module's class tells."""
    module = path.removeprefix("params/").rpartition("/")[0]
    kinds = {"Conv": "convolution", "ConvTranspose": "transposed_convolution", "ConvTransposeKept": "convolution"}
    if use.kind in ("convolution?", "transposed_convolution") and classes.get(module) in kinds:
        return use._replace(kind=kinds[classes[module]])
    return use
