"""Folds the batch norms of any Flax network, branched ones too, by pairs of layers that the caller names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flax.traverse_util import flatten_dict, unflatten_dict

from mathdnn_jax.errors import MathdnnError, ParameterStructureError
from mathdnn_jax.surgery.folding import fold_batch_norm
from mathdnn_jax.surgery.report import LayerReport, SurgeryReport


def fold_batch_norms(
    variables: Mapping[str, Any], pairs: Mapping[str, str], *, epsilon: float
) -> tuple[dict[str, Any], SurgeryReport]:
    """Fold batch norms of a Linen network's variables into the linear layers directly before them.

    If a network is not a `Sequential`, because it has residual branches for example, only its author knows which layer
    a batch norm follows. The new variables belong to the same network without its batch norms and with biases in those
    layers. Only shapes are checked here, so compare the outputs of the two networks. `fold_batch_norm` folds each pair.

    Args:
        variables: {"params": …, "batch_stats": …}, nested dicts of arrays.
        pairs: {batch norm: the layer before it}, given by their paths: {"layer1_0/bn1": "layer1_0/conv1"}.
        epsilon: ε of the batch norms, which the variables do not hold.

    Returns:
        (variables, report). The folded batch norms are gone, and their layers have a new `kernel` and `bias` in the
        kernel's dtype; other arrays are not copied. The report lists a batch norm without a pair as "left".

    Raises:
        ParameterStructureError: A pair names something that is not a batch norm or a layer without a kernel; or two
            pairs name the same layer.
        EventShapeError, NonFiniteError: As for `fold_batch_norm`; the message names the pair.

    Example:
        >>> import jax.numpy as jnp, mathdnn_jax as mj
        >>> norm = {"scale": jnp.full(2, 2.0), "bias": jnp.ones(2)}
        >>> variables = {
        ...     "params": {"conv": {"kernel": jnp.ones((1, 1, 3, 2))}, "bn": norm},
        ...     "batch_stats": {"bn": {"mean": jnp.ones(2), "var": jnp.full(2, 4.0)}},
        ... }
        >>> folded, report = mj.fold_batch_norms(variables, {"bn": "conv"}, epsilon=0.0)
        >>> folded["params"]["conv"]["bias"].tolist()
        [0.0, 0.0]
        >>> print(report.describe())
        conv  layer         changed   absorbed bn, which follows it
        bn    BatchNorm     removed   folded into conv, which comes before it
    """
    flat = {name: flatten_dict(dict(variables.get(name, {})), sep="/") for name in ("params", "batch_stats")}
    params, stats = flat["params"], flat["batch_stats"]
    norms = {path.rpartition("/")[0] for path in stats if path.endswith("/mean") and f"{path[:-4]}var" in stats}
    _check_pairs(pairs, norms, {path.rpartition("/")[0] for path in params if path.endswith("/kernel")})
    outcomes = dict.fromkeys([path.rpartition("/")[0] for path in (*params, *stats)], ("kept", "", ""))
    for norm, layer in pairs.items():
        own = {leaf: params.pop(f"{norm}/{leaf}", None) for leaf in ("scale", "bias")}
        own |= {leaf: stats.pop(f"{norm}/{leaf}") for leaf in ("mean", "var")}
        try:
            folded = fold_batch_norm(
                params[f"{layer}/kernel"],
                params.get(f"{layer}/bias"),
                scale=own["scale"],
                shift=own["bias"],
                mean=own["mean"],
                var=own["var"],
                epsilon=epsilon,
            )
        except MathdnnError as error:
            raise type(error)(f"{norm} into {layer}: {error}") from error
        params |= {f"{layer}/kernel": folded.kernel, f"{layer}/bias": folded.bias}
        stats.pop(f"{norm}/num_batches_tracked", None)
        outcomes[norm] = ("removed", f"folded into {layer}, which comes before it", layer)
        outcomes[layer] = ("changed", f"absorbed {norm}, which follows it", norm)
    for norm in norms - set(pairs):
        outcomes[norm] = ("left", "no pair names the layer that it follows", "")
    new = {name: value for name, value in variables.items() if name not in flat}
    new |= {name: unflatten_dict(tree, sep="/") for name, tree in flat.items() if tree}
    report = SurgeryReport(
        "fold_batch_norms", tuple(_layer_report(name, norms, outcome) for name, outcome in outcomes.items())
    )
    return new, report


def _check_pairs(pairs: Mapping[str, str], norms: set[str], layers: set[str]) -> None:
    wrong = [f"{norm} is not a batch norm" for norm in pairs if norm not in norms]
    wrong += [f"{layer} is not a layer with a kernel" for layer in pairs.values() if layer not in layers]
    named = list(pairs.values())
    wrong += [f"{layer} is named by several pairs" for layer in dict.fromkeys(named) if named.count(layer) > 1]
    if wrong:
        raise ParameterStructureError(
            f"pairs are {{batch norm: the layer before it}}, given by their paths: {'; '.join(wrong)}. "
            f"Batch norms here: {', '.join(sorted(norms)) or 'none'}"
        )


def _layer_report(name: str, norms: set[str], outcome: tuple[Any, str, str]) -> LayerReport:
    action, detail, other = outcome
    kind = "BatchNorm" if name in norms else "layer"
    return LayerReport(name, kind, action, detail, (other,) if other else ())
