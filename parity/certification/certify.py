"""`certify`, of a checkpoint by its model's name, or of any PyTorch module beside any JAX function."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from typing import Any, overload

import numpy as np

from mathdnn_jax.errors import ConfigurationError
from parity.certification.certificate import certify as certify_checkpoint
from parity.certification.pair import certify_pair
from parity.containers import Inside
from parity.rules.table import RuleTable


@overload
def certify(
    path: str | os.PathLike[str],
    model: str = ...,
    *,
    inputs: np.ndarray | None = ...,
    output: str | os.PathLike[str] | None = ...,
    events: int = ...,
    seed: int = ...,
    ignore: Collection[str] = ...,
    inside: Inside | None = ...,
    on_batch: Callable[[int], object] | None = ...,
) -> dict[str, Any]: ...


@overload
def certify(
    path: Any,
    model: Callable[..., Any],
    variables: Any,
    inputs: Any,
    *,
    rules: RuleTable | str | os.PathLike[str] | None = ...,
    torch_inputs: Any = ...,
    gradients: bool = ...,
    output: str | os.PathLike[str] | None = ...,
) -> dict[str, Any]: ...


def certify(
    path: Any, model: Any = "nice", variables: Any = None, inputs: Any = None, **options: Any
) -> dict[str, Any]:
    """Evidence that a converted network computes what the PyTorch network computes, layer by layer.

    `certify(path, model="nice")` is of a checkpoint file, for the models of `parity.MODELS`: see
    `certificate.certify` for its options. `certify(torch_module, apply, variables, inputs)` is of any pair: both
    run in eval mode on `inputs` in float32, and in float64 for the truth, and `measure.RULE` judges every layer.
    PyTorch's layers are watched by forward hooks, JAX's by the calls of its Flax modules, Linen or NNX; layers are
    paired by the rules, and by equal names. The weights are judged too: they have to be, bit for bit, what the rules
    make of the module's.

    Linen modules are seen in whatever function calls them; NNX modules where the variables are NNX state and the
    function merges them (`nnx.merge(graph, state)`); code without modules has no layers to see, and is judged by its
    output, its weights and its gradients. What a loop computes, such as a recurrent cell's steps, is judged by what
    comes of it.

    Args:
        path: the checkpoint; or the PyTorch module, which is not changed.
        model: a name in `parity.MODELS`; or `apply`, the network in eval mode as (variables, inputs) → output.
        variables: what `apply` takes.
        inputs: one batch in JAX's layout, images with the channels last; for a checkpoint None draws events.
        rules: the rule table by which `variables` came; by default `infer_rules` proposes it.
        torch_inputs: the same batch in PyTorch's layout; by default images get their channels first, vectors and whole
            numbers stay as they are. Arrays of three axes may be either, and then this must be given.
        gradients: whether to compare the gradients of a random linear function of the output too, by the inputs and
            by every weight.
        output: where the certificate is written; for a pair by default nowhere.
        **options: of the checkpoint: `events`, `seed`, `ignore`, `inside`, `on_batch`.

    Returns:
        The certificate, which `report.describe_pair` shows as a table: "layers" and "gradients" in the order of
        computation, each with its measured differences, "weights" with the leaves that differ, and "unwatched" with
        the PyTorch layers that have weights and could not be paired with a call: only what follows them judges them.

    Raises:
        CertificationError: a layer, a gradient or a weight departs; the message names the first, and the certificate,
            written all the same, is the exception's `certificate`.
        AmbiguousRulesError, UnmatchedArraysError, ConversionError: as `infer_rules` and `convert` do.
        EventShapeError: there are no inputs, or a layer's outputs have other sizes in PyTorch.
        ConfigurationError: arguments of the one kind given to the other; or a network that casts to float32.
        OutputError: the certificate cannot be written.
    """
    if not hasattr(path, "named_modules"):
        if variables is not None or not isinstance(model, str):
            raise ConfigurationError(
                f"certify(path, model) takes a checkpoint's path and a model's name; certify(torch_module, apply, "
                f"variables, inputs) a PyTorch module first, given {type(path).__name__}"
            )
        return certify_checkpoint(path, model, inputs=inputs, **options)
    if not callable(model) or variables is None or inputs is None:
        raise ConfigurationError(
            "a PyTorch module is certified beside a JAX function: certify(torch_module, apply, variables, inputs)"
        )
    return certify_pair(path, model, variables, inputs, **options)
