"""Certificates of any PyTorch module beside any JAX function."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from mathdnn_jax.files import check_writable
from parity.capture import INPUT, OUTPUT, Place
from parity.certification.blame import find_blame
from parity.certification.certificate import circumstances, conclude, differing_bits, entries, passed
from parity.certification.comparison import Batch, Comparison, compare
from parity.certification.explanation import explained
from parity.certification.gradients import gradient_evidence
from parity.certification.inputs import Arguments, in_torch_layout, read_arguments
from parity.certification.measure import summary
from parity.certification.networks import Sides, Watch, pair_networks
from parity.certification.pairing import known_layers
from parity.certification.recording import Recording, describe
from parity.certification.verdict import departures
from parity.certification.watched import left_out, unwatched
from parity.inference import infer_rules
from parity.nested import name_of
from parity.rules.adapting import for_module
from parity.rules.conversion import convert_by_table, with_own_ties
from parity.rules.table import RuleTable, read_rules
from parity.rules.targets import HALF_PRECISION, in_float32, target_leaves, widened


def certify_modules(
    torch_module: Any,
    apply: Callable[..., Any],
    variables: Any,
    inputs: Any,
    *,
    rules: RuleTable | str | os.PathLike[str] | None = None,
    torch_inputs: Any = None,
    output_layout: str | Mapping[str, str] | None = None,
    gradients: bool = False,
    output: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Implement `parity.certify(torch_module, apply, variables, inputs)`.

    In place of the module there may be a `Recording` of one, which has the inputs too.
    """
    target = None if output is None else check_writable(output)
    recorded = isinstance(torch_module, Recording)
    if recorded:
        described, arguments, torch_arguments = torch_module[:3]
    else:
        described, arguments = describe(torch_module), read_arguments(inputs)
        torch_arguments = in_torch_layout(arguments) if torch_inputs is None else read_arguments(torch_inputs)
    own = described.state
    # Half precision is certified by its weights: as float32 they are the same numbers.
    state, variables = in_float32(own), in_float32(variables)
    stored = sorted({str(array.dtype) for array in own.values() if str(array.dtype) in HALF_PRECISION})
    table = with_own_ties(state, _table(rules, state, apply, variables, arguments))
    converted = target_leaves(convert_by_table(state, variables, table))
    differing = differing_bits(converted, target_leaves(variables))

    sides = Sides(torch_module, apply, arguments, torch_arguments)
    watch = Watch(known_layers(table), described.kinds)
    networks = pair_networks(sides, watch, variables, _combined(state, variables, table, differing), output_layout)
    batch = Batch(tuple(arguments.arrays.values()), tuple(torch_arguments.arrays.values()))
    comparison = compare(networks, [batch])
    layers, read = _judged(comparison)
    slopes = []
    if gradients:
        slopes = entries(
            gradient_evidence(networks.single, networks.double, apply, variables, arguments, torch_arguments,
                              watch.outputs, table)
        )  # fmt: skip
    found = find_blame(comparison, watch.kinds)
    # Other weights than the rules' are cause enough, and a recording cannot be run again to look for one.
    stated = None if found is None else found.stated()
    blame = stated if differing or recorded else explained(found, comparison, networks, watch, batch)
    seen = {comparison.pairs[place] for place in comparison.evidence}
    calls = comparison.values.torch32
    certificate = {
        "model": described.name,
        "passed": not differing and passed([*layers, *read, *slopes]),
        "weights": {"leaves": len(target_leaves(variables)), "differing": differing},
        "parameters": described.parameters,
        "inputs": {"events": arguments.events, "shape": arguments.shape, "sha256": arguments.sha256},
        "output": _output(comparison, watch),
        **circumstances(stored),
        "recorded": torch_module.versions if recorded else None,
        "rules": table.text,
        "unwatched": unwatched(calls, seen, watch.known.owners),
        "left_out": left_out(calls, seen, watch.known.owners, watch.kinds),
        "layers": layers,
        "layer_inputs": read,
        "gradients": slopes,
        "blame": blame,
    }
    return conclude(certificate, target)


def _table(
    rules: RuleTable | str | os.PathLike[str] | None,
    state: Mapping[str, np.ndarray],
    apply: Callable[..., Any],
    variables: Any,
    arguments: Arguments,
) -> RuleTable:
    """Return the rule table for the module's own state, inferred if there is none."""
    if rules is None:
        shapes = {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in arguments.arrays.items()}

        def network(tree: Any, arrays: Mapping[str, Any]) -> Any:
            return arguments.call(apply, arrays, tree)

        rules = infer_rules(state, variables, apply=network, inputs=shapes)
    table = rules if isinstance(rules, RuleTable) else read_rules(rules)
    return for_module(table, state)


def _output(comparison: Comparison, watch: Watch) -> dict[str, Any]:
    """Return what a certificate states of the output: how much was compared, and in which layouts of PyTorch's."""
    own = [found for place, found in comparison.evidence.items() if not place.layer]
    return {
        "leaves": len(own),
        "numbers": sum(found.size for found in own),
        "layouts": {name_of(pair.path): pair.layout for pair in watch.outputs},
        "either_layout": [name_of(pair.path) for pair in watch.outputs if pair.either],
    }


def _judged(comparison: Comparison) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return what a certificate states of the outputs of all layers, and of what layers read."""
    evidence, pairs = comparison.evidence, comparison.pairs
    names = {place: _name(place) for place in evidence if place.side == OUTPUT}
    layers = entries(
        {name: evidence[place] for place, name in names.items()},
        {name: _name(pairs[place]) for place, name in names.items()},
    )
    read = [
        {
            "layer": place.layer,
            "argument": place.path,
            "torch": pairs[place].layer,
            "passed": not departures(found),
            "failures": list(departures(found)),
            **summary(found),
        }
        for place, found in evidence.items()
        if place.side == INPUT
    ]
    return layers, read


def _name(place: Place) -> str:
    """Return the name of an output in a certificate; that of the network is not mistaken for that of a layer."""
    taken = place.layer == name_of("") or place.layer.startswith(name_of("x")[:-1])
    return f"./{place}" if taken else str(place)


def _combined(
    state: Mapping[str, np.ndarray], variables: Any, table: RuleTable, differing: list[str]
) -> dict[str, np.ndarray]:
    """Return in float64 the leaves made of two sources: in float32 they are rounded, and PyTorch's own are not.

    Only leaves whose float32 is what the rules give are returned, so that any other weight remains what it is.
    """
    wanted = {rule.target for rule in table.rules if rule.combine} - set(differing)
    if not wanted:
        return {}
    with jax.enable_x64(True):
        double = {name: a.astype(np.float64) if a.dtype.kind not in "iub" else a for name, a in state.items()}
        leaves = target_leaves(convert_by_table(double, widened(variables), table))
        return {path: np.asarray(leaves[path]) for path in wanted}
