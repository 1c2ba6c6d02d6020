"""The door `certify`: of a checkpoint by the name of its model, or of any PyTorch module beside any JAX function."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from typing import Any, overload

import numpy as np

from mathdnn_jax.errors import ConfigurationError
from parity.certification.checkpoints import certify_checkpoint
from parity.certification.modules import certify_modules
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
    """Compare a converted network with the PyTorch network, layer by layer, and return a certificate of the result.

    `certify(path, "nice")` is for a checkpoint file of one of the models of `parity.MODELS`. `certify(torch_module,
    apply, variables, inputs)` is for any pair of networks. Both networks run in eval mode in float32, and in float64
    for the truth, JAX with matrix products of the highest precision. The certificate states for each layer the rms and
    the greatest error of both float32 computations, and the greatest absolute, relative and ulp difference between
    them with its place; its "rule" says when a layer passes. The weights are judged too: those of a checkpoint must
    come back bit for bit from the conversion, and `variables` must be bit for bit what the rules make of the module's.

    PyTorch's layers are watched by forward hooks, JAX's by the calls of its Flax modules, which are paired by the rules
    and by equal names. Linen modules are seen whatever function calls them, NNX modules if the variables are NNX state
    and the function merges them (`nnx.merge(graph, state)`). Code without modules has no layers to see, and is judged
    by its output, its weights and its gradients. What a loop computes, such as the steps of a recurrent cell, is judged
    by its result.

    Args:
        path: a checkpoint, or a file of `save_params`, as `restore` takes it; or the PyTorch module, which is not
            changed.
        model: a name in `parity.MODELS`; or `apply`, the network in eval mode as (variables, inputs) → output.
        variables: the variables that `apply` takes.
        inputs: one batch in JAX's layout, images with the channels last; for a checkpoint, None draws events.
        rules: the rule table that gave `variables`; by default `infer_rules` infers it.
        torch_inputs: the same batch in PyTorch's layout; by default images get their channels first, and vectors and
            whole numbers are unchanged. Arrays of three axes could be either, and need it.
        gradients: whether to compare the gradients of a random linear function of the output too, with respect to the
            inputs and every weight.
        output: where the certificate is written; by default, that of a checkpoint is written to
            `<its name>.certificate.json` in the current folder and that of a pair is not written.
        **options: for a checkpoint: `events`, how many events are drawn (1024), uniform on [0, 1), for a flow half of
            them from the flow itself; `seed`, of the drawn events and of the latents on which a flow's inverse is
            compared; `ignore`, keys to leave out on purpose; `inside`, the dictionary that holds the state, as `load`
            takes it; `on_batch`, called with the number of events of each finished batch.

    Returns:
        The certificate, as its JSON file has it. For a checkpoint it identifies the file by its SHA-256. For a pair,
        "layers" and "gradients" are in the order of computation, "weights" names the leaves that differ, and
        "unwatched" the PyTorch layers with weights that could not be paired with a call and are judged only by what
        follows them.

    Raises:
        CertificationError: a layer, a gradient or a weight fails. The message names the first; the certificate, written
            nevertheless, is the exception's `certificate`.
        CheckpointError, ConversionError: as `load`, `infer_rules` and `convert`; nothing is written.
        EventShapeError: the inputs are not events of the model, there are none, or the outputs of a layer have other
            sizes in PyTorch.
        ConfigurationError: arguments of one kind are given for the other; fewer than one event; an impossible seed; or
            a network that casts to float32.
        OutputError: the certificate cannot be written, or would replace the checkpoint.
        MissingDependencyError: torch is not installed.

    Example:
        >>> import flax.linen as nn, numpy as np, parity, torch
        >>> linear = torch.nn.Linear(4, 3)
        >>> dense, x = nn.Dense(3), np.ones((64, 4), np.float32)
        >>> variables = {"params": {"kernel": linear.weight.detach().numpy().T, "bias": linear.bias.detach().numpy()}}
        >>> certificate = parity.certify(linear, dense.apply, variables, x)
        >>> certificate["passed"], [entry["layer"] for entry in certificate["layers"]]
        (True, ['output'])
    """
    if not hasattr(path, "named_modules"):
        if variables is not None or not isinstance(model, str):
            raise ConfigurationError(
                f"certify(path, model) takes a checkpoint's path and a model's name; certify(torch_module, apply, "
                f"variables, inputs) a PyTorch module first, got {type(path).__name__}"
            )
        return certify_checkpoint(path, model, inputs=inputs, **options)
    if not callable(model) or variables is None or inputs is None:
        raise ConfigurationError(
            "a PyTorch module is certified beside a JAX function: certify(torch_module, apply, variables, inputs)"
        )
    return certify_modules(path, model, variables, inputs, **options)
