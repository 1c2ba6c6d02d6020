"""How a network uses each of its arrays, according to its trace: when, in what role, and after which flattening.

Nothing is computed. The trace comes from `jax.make_jaxpr`, so the network can be any function: Linen, NNX, or written
by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.extend as jex

from parity.inference.parameters import leaves_after
from parity.inference.provenance import Intermediate, Known, Leaf, intermediate_after, joined
from parity.nnx_calls import nnx_calls
from parity.rules.targets import target_leaves, with_paths


class Use(NamedTuple):
    """The first use of an array: the first equation in which it, or what was made of it alone, meets the inputs.

    `kind` is "linear", "linear_untransposed" (contracted along its second axis, as PyTorch stores it), "convolution",
    "transposed_convolution", "lookup" or "other"; "convolution?" if the trace alone does not distinguish the two;
    "unknown" if what was done before hides the array's axes; "reversed" for a convolution that PyTorch does not have.
    For a linear layer, `flat` describes its input: None if it is not known, else (number of channels of a flattened
    image, whether they vary fastest); (1, True) if nothing was flattened. `contracted` are the axes over which a
    product sums. An array that scales another along one axis has both in `along`. `after` are the arrays on which the
    other operands depend, and `turned` says whether these come from a sequence in reverse.
    """

    order: int
    kind: str
    flat: tuple[int, bool] | None = None
    groups: int = 1
    contracted: frozenset[int] = frozenset()
    along: tuple[str, int] | None = None
    after: frozenset[str] = frozenset()
    turned: bool = False


def trace(apply: Callable[..., Any], variables: Any, *inputs: Any) -> dict[str, Use]:
    """{path: first use} of every array that `apply(variables, *inputs)` uses; the inputs may be only shapes."""
    classes: dict[str, str] = {}

    def watched(tree: Any, *arguments: Any) -> Any:
        with nn.intercept_methods(_classes(classes)), nnx_calls(tree, partial(_nnx_class, classes)):
            return apply(tree, *arguments)

    closed = jax.make_jaxpr(watched)(variables, *inputs)
    weights = list(target_leaves(variables))
    bits = {path: 1 << k for k, path in enumerate(weights)}
    walk = _Walk(bits)
    known = [
        Known((Leaf(path, tuple(range(leaf.ndim)), leaf.ndim),), after=bits[path]) if path in bits else Known()
        for path, leaf in with_paths(variables)
    ]
    # Images have their channels last; an input with three axes could be anything.
    known += [
        Known(
            image=Intermediate(
                array.ndim - 1 if array.ndim >= 4 else None,
                (1, True) if array.ndim == 2 else None,
                second=array.ndim >= 4,
            ),
            data=True,
        )
        for array in jax.tree.leaves(inputs)
    ]
    walk.run(closed.jaxpr, known)
    # A product of parameters only does not tell which of its axes is the input's.
    alone = {path: use._replace(kind="unknown") if "linear" in use.kind else use for path, use in walk.alone.items()}
    return {path: _resolve_kind(path, use, classes) for path, use in {**alone, **walk.uses}.items()}


class _Walk:
    """Follows arrays through a jaxpr and everything that it calls.

    `uses` has what meets the inputs; `alone` what is contracted or convolved with parameters only, which counts for an
    array that never meets them.
    """

    def __init__(self, bits: Mapping[str, int]) -> None:
        self.uses: dict[str, Use] = {}
        self.alone: dict[str, Use] = {}
        self._bits = bits
        self._steps = 0

    def run(self, jaxpr: Any, known: Sequence[Known]) -> list[Known]:
        environment = dict(zip(jaxpr.invars, known, strict=True))

        def read(atom: Any) -> Known:
            return Known() if isinstance(atom, jex.core.Literal) else environment.get(atom, Known())

        for equation in jaxpr.eqns:
            operands = [read(atom) for atom in equation.invars]
            results = self._step(equation, operands)
            environment.update(zip(equation.outvars, results, strict=False))
        return [read(atom) for atom in jaxpr.outvars]

    def _step(self, equation: Any, operands: list[Known]) -> list[Known]:
        name, parameters = equation.primitive.name, equation.params
        inner = parameters.get("jaxpr", parameters.get("call_jaxpr"))
        every = joined(operands)
        if name == "scan":
            return self._scan(equation, operands)
        if name == "cond":
            # If an algorithm is chosen by platform, the last branch is the default for all platforms.
            branches = [self.run(branch.jaxpr, operands[1:]) for branch in reversed(parameters["branches"])]
            return branches[0]
        if name == "while":
            skipped, constants = parameters["cond_nconsts"], parameters["body_nconsts"]
            carried = operands[skipped + constants :]
            self._record(equation, carried)
            body = operands[skipped : skipped + constants] + [_carried(known, every) for known in carried]
            results = self.run(parameters["body_jaxpr"].jaxpr, body)
            return [joined([every, result]) for result in results]
        if inner is not None:
            inner = getattr(inner, "jaxpr", inner)
            if len(inner.invars) == len(operands):
                return self.run(inner, operands)
        if name == "rev":
            every = every._replace(turned=not every.turned)
        if not every.data:
            if name in ("dot_general", "conv_general_dilated"):
                self._record(equation, operands)
            return [every._replace(leaves=leaves_after(equation, operands))] * len(equation.outvars)
        self._record(equation, operands)
        return [every._replace(image=intermediate_after(equation, operands, variable)) for variable in equation.outvars]

    def _scan(self, equation: Any, operands: list[Known]) -> list[Known]:
        """The first pass through a loop: its constants are unchanged, its slices have lost their first axis."""
        parameters, every = equation.params, joined(operands)
        constants, carries = _counts(parameters)
        turned = bool(parameters.get("reverse"))
        self._record(equation, operands[constants : constants + carries])
        inner = operands[:constants]
        inner += [_carried(known, every) for known in operands[constants : constants + carries]]
        inner += [_sliced(known, turned) for known in operands[constants + carries :]]
        results = self.run(parameters["jaxpr"].jaxpr, inner)
        return [joined([every, result])._replace(turned=result.turned is not turned) for result in results]

    def _record(self, equation: Any, operands: list[Known]) -> None:
        self._steps += 1
        for position, operand in enumerate(operands):
            if not operand.leaves:
                continue
            others = joined([other for k, other in enumerate(operands) if k != position])
            into = self.uses if others.data else self.alone
            for leaf in operand.leaves:
                if leaf.path not in into:
                    into[leaf.path] = _use(equation, operands, position, leaf)._replace(
                        order=self._steps,
                        along=_along(leaf, operand.leaves),
                        after=frozenset(path for path, bit in self._bits.items() if others.after & bit),
                        turned=others.turned,
                    )


def _carried(known: Known, every: Known) -> Known:
    """What a loop carries has met its data after the first pass."""
    return Known(after=known.after, data=every.data, turned=known.turned)


def _sliced(known: Known, turned: bool) -> Known:
    leaves = tuple(leaf._replace(axes=leaf.axes and leaf.axes[1:]) for leaf in known.leaves)
    return known._replace(leaves=leaves, image=None, turned=known.turned is not turned)


def _counts(parameters: Mapping[str, Any]) -> tuple[int, int]:
    """Numbers of a loop's constants and carries: JAX 0.10 has the counts, 0.12 has (constants, carry, slices)."""
    if "num_consts" in parameters:
        return int(parameters["num_consts"]), int(parameters["num_carry"])
    constants, carries, _ = parameters["ft_in"].unpack()
    return len(constants), len(carries)


def _use(equation: Any, operands: list[Known], position: int, leaf: Leaf) -> Use:
    name, parameters = equation.primitive.name, equation.params
    if leaf.axes is None:
        return Use(0, "unknown")
    if None in leaf.axes:
        return Use(0, "other")
    if name == "conv_general_dilated" and position == 1:
        return Use(0, _convolution_kind(parameters, leaf), groups=parameters["feature_group_count"])
    if name == "dot_general":
        contracting, _ = parameters["dimension_numbers"]
        image = operands[1 - position].image
        flat = image.flat if image is not None else None
        if image is not None and (image.channels,) == tuple(contracting[1 - position]):
            flat = (1, True)  # the channels alone, of every pixel
        summed = frozenset(axis for k in contracting[position] if (axis := leaf.axes[k]) is not None)
        kind = "linear"
        if leaf.rank == 2:
            kind = {frozenset({0}): "linear", frozenset({1}): "linear_untransposed"}.get(summed, "unknown")
        return Use(0, kind, flat, contracted=summed)
    if name == "gather" and position == 0:
        return Use(0, "lookup" if leaf.axes[0] == 0 else "unknown")
    return Use(0, "other")


def _convolution_kind(parameters: Mapping[str, Any], leaf: Leaf) -> str:
    """Whether a kernel, whose last axes are the input's and the output's channels, is PyTorch's of a convolution.

    A kernel whose channels are exchanged and whose other axes run backwards is that of the convolution's transpose,
    which PyTorch keeps as it keeps a convolution's.
    """
    out, into = (leaf.axes[k] if leaf.axes else None for k in parameters["dimension_numbers"].rhs_spec[:2])
    usual = (leaf.rank - 2, leaf.rank - 1)
    if (into, out) == usual and not leaf.reversed:
        return "transposed_convolution" if any(n != 1 for n in parameters["lhs_dilation"]) else "convolution?"
    if (out, into) == usual and leaf.reversed == set(range(leaf.rank - 2)):
        return "convolution"
    return "reversed" if leaf.reversed else "unknown"


def _along(leaf: Leaf, others: Sequence[Leaf]) -> tuple[str, int] | None:
    """The larger leaf that this one scales, and along which of its axes, if both are in one array."""
    places = [k for k, axis in enumerate(leaf.axes or ()) if axis is not None]
    if len(places) != 1 or len(leaf.axes or ()) < 2:
        return None
    found = [(other.path, axis) for other in others if other.axes and None not in other.axes
             for axis in (other.axes[places[0]],) if axis is not None]  # fmt: skip
    return found[0] if len(found) == 1 else None


def _classes(classes: dict[str, str]) -> Callable[..., Any]:
    """An interceptor that records the class of each called Linen module by its path."""

    def note(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        module = context.module
        path, name = "/".join(module.path), _class(getattr(module, "layer", module))
        # Modules that are applied apart may share a path; of what they share nothing is known.
        classes[path] = name if classes.get(path, name) == name else ""
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
    if use.kind in ("convolution?", "transposed_convolution", "unknown") and classes.get(module) in kinds:
        return use._replace(kind=kinds[classes[module]])
    return use
