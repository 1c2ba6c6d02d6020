"""Batch norms folded in the variables of any Flax network, branches and all, by the pairs that its author names."""

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
    """Fold batch norms of a Linen network's variables into the linear layers right before them.

    Of a network that is no `Sequential`, with residual branches and the like, only its author knows which layer a batch
    norm follows; the new variables are for the same network without its batch norms and with biases in those layers.
    Nothing but shapes is checked here: compare the two networks' outputs. Each pair is folded by `fold_batch_norm`.

    Args:
        variables: {"params": …, "batch_stats": …}, nested dicts of arrays.
        pairs: {batch norm: the layer before it}, by their paths: {"layer1_0/bn1": "layer1_0/conv1"}.
        epsilon: ε of the batch norms, which variables do not hold.

    Returns:
        (variables, report): the batch norms that were folded are gone, their layers have a new `kernel` and `bias`, in
        the kernel's dtype; what is not concerned is not copied. A batch norm without a pair is "left" in the report.

    Raises:
        ParameterStructureError: a pair names no batch norm, or no layer with a kernel; or two pairs name one layer.
        EventShapeError, NonFiniteError: as `fold_batch_norm` does; the message names the pair.
    """
    flat = {name: flatten_dict(dict(variables.get(name, {})), sep="/") for name in ("params", "batch_stats")}
    params, stats = flat["params"], flat["batch_stats"]
    norms = {path.rpartition("/")[0] for path in stats if path.endswith("/mean") and f"{path[:-4]}var" in stats}
    _check(pairs, norms, {path.rpartition("/")[0] for path in params if path.endswith("/kernel")})
    fates = dict.fromkeys([path.rpartition("/")[0] for path in (*params, *stats)], ("kept", "", ""))
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
        fates[norm] = ("removed", f"folded into {layer}, which comes before it", layer)
        fates[layer] = ("changed", f"took up {norm} behind it", norm)
    for norm in norms - set(pairs):
        fates[norm] = ("left", "no layer was named that it follows", "")
    new = {name: value for name, value in variables.items() if name not in flat}
    new |= {name: unflatten_dict(tree, sep="/") for name, tree in flat.items() if tree}
    report = SurgeryReport("fold_batch_norms", tuple(_entry(name, norms, fate) for name, fate in fates.items()))
    return new, report


def _check(pairs: Mapping[str, str], norms: set[str], layers: set[str]) -> None:
    wrong = [f"{norm} is no batch norm" for norm in pairs if norm not in norms]
    wrong += [f"{layer} is no layer with a kernel" for layer in pairs.values() if layer not in layers]
    named = list(pairs.values())
    wrong += [f"{layer} is named by several" for layer in dict.fromkeys(named) if named.count(layer) > 1]
    if wrong:
        raise ParameterStructureError(
            f"pairs are {{batch norm: the layer before it}} by their paths: {'; '.join(wrong)}. Batch norms here: "
            f"{', '.join(sorted(norms)) or 'none'}"
        )


def _entry(name: str, norms: set[str], fate: tuple[Any, str, str]) -> LayerReport:
    action, detail, other = fate
    kind = "BatchNorm" if name in norms else "layer"
    return LayerReport(name, kind, action, detail, (other,) if other else ())
