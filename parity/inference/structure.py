"""How a network uses each of its arrays, according to its trace: when, in what role, and after which flattening.

Nothing is computed. The trace comes from `jax.make_jaxpr`, so the network can be any function: Linen, NNX, or written
by hand.
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
    """The first use of an array.

    `kind` is "linear", "linear_untransposed" (contracted along its second axis, as PyTorch stores it), "convolution",
    "transposed_convolution", "lookup" or "other"; "convolution?" if the trace alone does not distinguish the two. For a
    linear layer, `flat` describes its input: None if it is not known, else (number of channels of a flattened image,
    whether they vary fastest); (1, True) if nothing was flattened.
    """

    order: int
    kind: str
    flat: tuple[int, bool] | None = None
    groups: int = 1


def trace(apply: Callable[..., Any], variables: Any, *inputs: Any) -> dict[str, Use]:
    """{path: first use} of every array that `apply(variables, *inputs)` uses; the inputs may be only shapes."""
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
    # Images have their channels last; an input with three axes could be anything.
    known += [
        Intermediate(array.ndim - 1 if array.ndim >= 4 else None, (1, True) if array.ndim == 2 else None)
        for array in jax.tree.leaves(inputs)
    ]
    walk.run(closed.jaxpr, known)
    return {path: _resolve_kind(path, use, classes) for path, use in walk.uses.items()}


class _Walk:
    """Follows arrays through a jaxpr and everything that it calls."""

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
            # The slices of a loop have lost an axis; its constants are unchanged.
            constants = _constants(parameters)
            operands = operands[:constants] + [o if isinstance(o, Leaf) else None for o in operands[constants:]]
        if name == "cond":
            # If an algorithm is chosen by platform, the last branch is the default for all platforms.
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
    """Number of a loop's operands that are constants: JAX 0.10 has the count, 0.12 has (constants, carry, slices)."""
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
    """An interceptor that records the class of each called Linen module by its path."""

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


def _resolve_kind(path: str, use: Use, classes: Mapping[str, str]) -> Use:
    """Let the module's class decide where the trace cannot: a transposed convolution of stride 1 looks like any."""
    module = path.removeprefix("params/").rpartition("/")[0]
    kinds = {"Conv": "convolution", "ConvTranspose": "transposed_convolution", "ConvTransposeKept": "convolution"}
    if use.kind in ("convolution?", "transposed_convolution") and classes.get(module) in kinds:
        return use._replace(kind=kinds[classes[module]])
    return use
