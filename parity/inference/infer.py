"""Proposing a rule table from names, order, shapes and the structure of the network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import numpy as np

from mathdnn_jax.errors import ConfigurationError
from parity.containers.checkpoint import State
from parity.errors import MissingKeysError
from parity.inference.attention import count_fused, with_fused
from parity.inference.choices import find_candidates, only
from parity.inference.matching import match
from parity.inference.ordering import Flow
from parity.inference.roles import COUNT
from parity.inference.structure import Use, trace
from parity.inference.units import Unit, count_attentions, module_of_source, source_units, target_units
from parity.inference.values import has_values
from parity.rules.prefixes import counts_beside, expand, find_prefix, module_prefix
from parity.rules.table import RuleTable
from parity.rules.targets import target_leaves
from parity.rules.wrappers import check_keys, find_wrapper, unwrap


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
    (`layer1.0.conv1` is `layer1_0/conv1`, and `q_proj` is `query`); otherwise by its position in the order of
    computation, if both sides show it: PyTorch numbers the entries of an `nn.Sequential` so (`0`, `2`), and the trace
    shows which layer feeds which. The order in which a module defines its layers says nothing. What remains is matched
    by values, if `variables` already has them. The `reason` of a rule says which: read the table before you rely on it,
    and let `certify` verify it. Nothing is guessed: if two candidates fit, it is an error.

    Args:
        state: Names to arrays, possibly inside wrapper dictionaries (`{"model_state": …, "epoch": 3}`) and with the
            prefixes of DataParallel, FSDP, torch.compile or an averaged model, or of an outer module that the tree has
            not (`encoder.`); all are detected and recorded in the table.
        variables: Linen variables, an NNX state, or any tree of arrays or of `jax.ShapeDtypeStruct`.
        apply: The network, as (variables, inputs) → output. Its trace shows the order of computation, distinguishes
            convolutions from transposed ones, and shows what was flattened; nothing is computed. Without it, more
            layers are ambiguous.
        inputs: The inputs of `apply`: one batch, or its shape as `jax.ShapeDtypeStruct`.
        layouts: {pattern of target paths: layout} for leaves that the error reports as ambiguous, or that are not what
            their trace says: {"fc1/kernel": "flattened 16"} says that 16 channels were flattened, {"*/kernel": "same"}
            that the state has its matrices as JAX has them, as GPT-2's `Conv1D` does.
        sources: {target layer: source layer}, likewise, with the names from the error.
        ignore: Source keys to leave out deliberately, or patterns of them as in `fnmatch`: `["decoder.*"]`.

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
    if isinstance(ignore, str):
        raise ConfigurationError(f"ignore is a collection of keys, got the string {ignore!r}; write [{ignore!r}]")
    wrapper = find_wrapper(state)
    inner: Any = state
    for name in wrapper:
        inner = inner[name]
    check_keys(inner)
    left_out = expand(ignore, inner, find_prefix(inner))
    prefix = find_prefix([key for key in inner if key not in left_out])
    beside = counts_beside(inner, prefix)
    arrays = unwrap(inner, (), prefix, [*left_out, *beside])
    ignored = {**dict.fromkeys((key.removeprefix(prefix) for key in left_out), "ignored deliberately"), **beside}
    missing = [key for key in ignored if key not in arrays]
    if missing:
        raise MissingKeysError(f"listed as ignored, but not there: {', '.join(missing)}")
    shapes = {key: array.shape for key, array in arrays.items() if key not in ignored}
    leaves = {path: tuple(leaf.shape) for path, leaf in target_leaves(variables).items()}
    uses = trace(apply, variables, inputs) if apply is not None else {}
    attentions = count_attentions(leaves)
    right = {unit.name: unit for unit in source_units(shapes)}
    right = with_fused(right, attentions) if attentions else right
    order = {path: use.order for path, use in uses.items()}
    left = {unit.name: unit for unit in target_units(leaves, order, fused=bool(count_fused(right)))}
    tied = _tied(right, left, arrays)
    right = {name: unit for name, unit in right.items() if name not in tied}
    found = find_candidates(left, right, uses, layouts or {}, sources or {})
    has = has_values(arrays, variables)
    pairs = match(
        left,
        right,
        {target: list(fitting) for target, fitting in found.items()},
        _flow(left, uses),
        lambda target, source: any(map(has, found[target][source])),
        sources or (),
    )
    rules = []
    for target, (source, reason) in pairs.items():
        rules += [rule._replace(reason=reason) for rule in only(target, source, found[target][source], has)]
        if COUNT in right[source].arrays and COUNT not in left[target].arrays:
            ignored[right[source].arrays[COUNT][0]] = "a count of batches, for which the target has no leaf"
    same = {key: right[first].arrays[role][0] for name, first in tied.items() for role, (key, _) in _both(name, shapes)}
    return _without_outer(RuleTable(tuple(rules), ignored, same, prefix, wrapper), left, beside)


def _without_outer(table: RuleTable, targets: Iterable[str], beside: Collection[str]) -> RuleTable:
    """The table with the outer modules that all its sources are in as part of its prefix.

    The ignored keys that are not in them are written in full, as those `beside` the prefix already are.
    """
    used = {key for rule in table.rules for key in rule.sources} | set(table.tied)
    outer = module_prefix({module_of_source(key) for key in used}, list(targets))
    if not outer:
        return table
    return table._replace(
        rules=tuple(
            rule._replace(sources=tuple(key.removeprefix(outer) for key in rule.sources)) for rule in table.rules
        ),
        ignored={
            key.removeprefix(outer) if key.startswith(outer) or key in beside else table.prefix + key: why
            for key, why in table.ignored.items()
        },
        tied={key.removeprefix(outer): first.removeprefix(outer) for key, first in table.tied.items()},
        prefix=table.prefix + outer,
    )


def _flow(left: Mapping[str, Unit], uses: Mapping[str, Use]) -> Flow:
    """What the trace says about whole layers."""
    owner = {path: name for name, unit in left.items() for path, _ in unit.arrays.values()}
    own = {name: [uses[path] for path, _ in unit.arrays.values() if path in uses] for name, unit in left.items()}
    before = {
        name: frozenset(owner[path] for use in found for path in use.after if path in owner) - {name}
        for name, found in own.items()
        if found
    }
    return Flow(before, {name: any(use.turned for use in found) for name, found in own.items()})


def _both(name: str, shapes: Mapping[str, Any]) -> list[tuple[str, tuple[str, Any]]]:
    return [(role, array) for unit in source_units(shapes) if unit.name == name for role, array in unit.arrays.items()]


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
