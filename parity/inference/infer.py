"""Proposing a rule table from names, order, shapes and the structure of the network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from mathdnn_jax.errors import ConfigurationError
from parity.containers.checkpoint import State
from parity.errors import AmbiguousRulesError, MissingKeysError
from parity.inference.fitting import Candidate, candidates
from parity.inference.matching import match
from parity.inference.structure import Use, trace
from parity.inference.units import COUNT, Unit, source_units, target_units
from parity.rules.table import Rule, RuleTable
from parity.rules.targets import target_leaves
from parity.rules.wrappers import find_prefix, find_wrapper, unwrap


def infer_rules(
    state: Mapping[str, Any],
    variables: Any,
    *,
    apply: Callable[..., Any] | None = None,
    inputs: Any = None,
    layouts: Mapping[str, str] | None = None,
    sources: Mapping[str, str] | None = None,
    ignore: Collection[str] = (),
) -> RuleTable:
    """Propose which array of a PyTorch state fills which leaf of a tree, and in which layout.

    A layer is matched by shape if only one fits; otherwise by name, if all names of the layers in question agree
    (`layer1.0.conv1` is `layer1_0/conv1`); otherwise by its position in the order of computation, if that is known and
    the whole state follows it. The `reason` of a rule says which: read the table before you rely on it, and let
    `certify` verify it. Nothing is guessed: if two candidates fit, it is an error.

    Args:
        state: Names to arrays, possibly inside wrapper dictionaries (`{"model_state": …, "epoch": 3}`) and with the
            prefixes of DataParallel or torch.compile; both are detected and recorded in the table.
        variables: Linen variables, an NNX state, or any tree of arrays or of `jax.ShapeDtypeStruct`.
        apply: The network, as (variables, inputs) → output. Its trace shows the order of computation, distinguishes
            convolutions from transposed ones, and shows what was flattened; nothing is computed. Without it, more
            layers are ambiguous.
        inputs: The inputs of `apply`: one batch, or its shape as `jax.ShapeDtypeStruct`.
        layouts: {pattern of target paths: layout} for leaves that the error reports as ambiguous:
            {"params/fc1/kernel": "flattened 16"} says that 16 channels were flattened.
        sources: {target layer: source layer}, likewise, with the names from the error.
        ignore: Source keys, without their prefix, to leave out deliberately.

    Returns:
        The table, for `parity.convert(state, variables, table)`, or for `write_rules` and an editor. Counts of batches
        for which the tree has no leaf are in its `ignored`, and keys that repeat another key's array in its `tied`.

    Raises:
        AmbiguousRulesError: Several candidates fit; the message lists them.
        UnmatchedArraysError: A layer of one side fits no layer of the other.
        MissingKeysError, UnexpectedKeysError, UnsupportedDtypeError: The state does not hold dense arrays.
        ConfigurationError: `apply` is given without `inputs`, or a choice names no layer.

    Example:
        >>> import numpy as np, parity
        >>> state = {"layer.weight": np.ones((3, 2)), "layer.bias": np.zeros(3)}
        >>> tree = {"params": {"dense": {"kernel": np.zeros((2, 3)), "bias": np.zeros(3)}}}
        >>> table = parity.infer_rules(state, tree)
        >>> for rule in table.rules:
        ...     print(rule.target, rule.sources, rule.layout, "-", rule.reason)
        params/dense/bias ('layer.bias',) same - the only one of its shape
        params/dense/kernel ('layer.weight',) linear - the only one of its shape
    """
    if (apply is None) != (inputs is None):
        raise ConfigurationError("apply= and inputs= must be given together: the network and one batch of its inputs")
    wrapper = find_wrapper(state)
    inner: Any = state
    for name in wrapper:
        inner = inner[name]
    prefix = find_prefix(inner)
    arrays = unwrap(state, wrapper, prefix)
    missing = [key for key in ignore if key not in arrays]
    if missing:
        raise MissingKeysError(f"listed as ignored, but not there: {', '.join(missing)}")
    ignored = dict.fromkeys(ignore, "ignored deliberately")
    shapes = {key: array.shape for key, array in arrays.items() if key not in ignored}
    leaves = {path: tuple(leaf.shape) for path, leaf in target_leaves(variables).items()}
    uses = trace(apply, variables, inputs) if apply is not None else {}
    right = {unit.name: unit for unit in source_units(shapes)}
    left = {unit.name: unit for unit in target_units(leaves, {path: use.order for path, use in uses.items()})}
    tied = _tied(right, left, arrays)
    right = {name: unit for name, unit in right.items() if name not in tied}
    found = _candidates(left, right, uses, layouts or {}, sources or {})
    pairs = match(left, right, {target: [s for s, _ in fitting] for target, fitting in found.items()})
    rules = []
    for target, (source, reason) in pairs.items():
        (candidate,) = _one(target, source, dict(found[target])[source])
        rules += [rule._replace(reason=reason) for rule in candidate]
        if COUNT in right[source].arrays and COUNT not in left[target].arrays:
            ignored[right[source].arrays[COUNT][0]] = "a count of batches, for which the target has no leaf"
    same = {key: right[first].arrays[role][0] for name, first in tied.items() for role, (key, _) in _both(name, shapes)}
    return RuleTable(tuple(rules), ignored, same, prefix, wrapper)


def _both(name: str, shapes: Mapping[str, Any]) -> list[tuple[str, tuple[str, Any]]]:
    return [(role, array) for unit in source_units(shapes) if unit.name == name for role, array in unit.arrays.items()]


def _candidates(
    left: Mapping[str, Unit],
    right: Mapping[str, Unit],
    uses: Mapping[str, Use],
    layouts: Mapping[str, str],
    sources: Mapping[str, str],
) -> dict[str, list[tuple[str, list[Candidate]]]]:
    """{target: [(source, its candidate rules)]}, restricted to the caller's choices."""
    unknown = [name for name in sources if name not in left] + [name for name in sources.values() if name not in right]
    if unknown:
        raise ConfigurationError(f"sources= names no layer: {', '.join(unknown)}; targets are {', '.join(left)}")
    # A flattened image may have the channels of any convolution's output.
    images = {shape[-1] for unit in left.values() for _, shape in unit.arrays.values() if len(shape) >= 4}
    applied: set[str] = set()
    found: dict[str, list[tuple[str, list[Candidate]]]] = {}
    for name, target in left.items():
        found[name] = []
        for other, source in right.items():
            chosen = sources.get(name, other) == other and (name in sources or other not in sources.values())
            fitting = candidates(target, source, uses, images) if chosen else []
            if fitting:
                found[name].append((other, _chosen(fitting, layouts, applied)))
    idle = sorted(set(layouts) - applied)
    if idle:
        raise ConfigurationError(f"layouts= has no effect for {', '.join(idle)}: no such leaf can have that layout")
    return found


def _chosen(fitting: list[Candidate], layouts: Mapping[str, str], applied: set[str]) -> list[Candidate]:
    """The candidates with the chosen layouts, where a chosen layout is one of several."""
    for pattern, layout in layouts.items():
        for k, first in enumerate(fitting[0]):
            kept = [
                candidate for candidate in fitting if layout in (text := _text(candidate[k]), text.partition(" ")[0])
            ]
            if fnmatchcase(first.target, pattern) and kept:
                fitting = kept
                applied.add(pattern)
    return fitting


def _text(rule: Rule) -> str:
    """A layout with its options, as given in `layouts`."""
    return " ".join([rule.layout, *map(str, rule.options.values())])


def _one(target: str, source: str, fitting: list[Candidate]) -> list[Candidate]:
    if len(fitting) == 1:
        return fitting
    lines = []
    for choices in zip(*fitting, strict=True):
        texts = dict.fromkeys(map(_text, choices))
        if len(texts) > 1:
            lines.append(f"{choices[0].target} from {', '.join(choices[0].sources)}: {' or '.join(texts)}")
    raise AmbiguousRulesError(
        f"{target} can come from {source} in several layouts, which give different networks:\n  "
        + "\n  ".join(lines)
        + "\nPass apply= and inputs=, whose trace may decide, or choose with layouts={path: layout}"
    )


def _tied(right: Mapping[str, Unit], left: Mapping[str, Unit], arrays: State) -> dict[str, str]:
    """{layer: the earlier layer with the same arrays}, if the tree has exactly that many layers fewer."""
    if len(right) <= len(left):
        return {}
    first: dict[tuple[Any, ...], str] = {}
    tied = {}
    for name, unit in right.items():
        content = tuple(
            (r, s, hashlib.sha256(np.ascontiguousarray(arrays[key]).view(np.uint8).data).digest())
            for r, (key, s) in sorted(unit.arrays.items())
            if len(s) > 1
        )
        if content and len(content) == len(unit.arrays):
            if content in first:
                tied[name] = first[content]
            first.setdefault(content, name)
    return tied if tied and len(right) - len(tied) == len(left) else {}
