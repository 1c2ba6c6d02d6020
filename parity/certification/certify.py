"""The door `certify`: of a checkpoint by the name of its model, or of any PyTorch module beside any JAX function."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from typing import Any, overload

import numpy as np

from mathdnn_jax.errors import ConfigurationError
from parity.certification.checkpoints import certify_checkpoint
from parity.certification.modules import certify_modules
from parity.certification.recording import read_recording
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
    inputs: Any = ...,
    *,
    rules: RuleTable | str | os.PathLike[str] | None = ...,
    torch_inputs: Any = ...,
    output_layout: str | Mapping[str, str] | None = ...,
    gradients: bool = ...,
    output: str | os.PathLike[str] | None = ...,
) -> dict[str, Any]: ...


def certify(
    path: Any, model: Any = "nice", variables: Any = None, inputs: Any = None, **options: Any
) -> dict[str, Any]:
    """Compare a converted network with the PyTorch network, layer by layer, and return a certificate of the result.

    `certify(recording, apply, variables)` compares with what `record` wrote of a module, where PyTorch is not
    installed.

    `certify(path, "nice")` is for a checkpoint file of one of the models of `parity.MODELS`. `certify(torch_module,
    apply, variables, inputs)` is for any pair of networks. Both networks run in eval mode in float32, and in float64
    for the truth, JAX with matrix products of the highest precision. The certificate states for each layer the rms and
    the greatest error of both float32 computations, and the greatest absolute, relative and ulp difference between
    them with its place; its "rule" says when a layer passes. The weights are judged too: those of a checkpoint must
    come back bit for bit from the conversion, and `variables` must be bit for bit what the rules make of the module's.

    PyTorch's layers are watched by forward hooks, JAX's by the calls of its Flax modules, which are paired by the rules
    and by equal names. Linen modules are seen whatever function calls them, NNX modules if the variables have NNX state
    and the function merges it (`nnx.merge(graph, state)`). Code without modules has no layers to see, and is judged
    by its output, its weights and its gradients. What a loop computes, such as the steps of a recurrent cell, is judged
    by its result. Weights in half precision are compared as the float32 numbers that they are.

    Both networks must return the same tree: an array or a number, or tuples, lists, dicts, named tuples and dataclasses
    of these and None. All of its leaves are compared, or it is an error. An array of four axes and more is an image,
    with the channels first in PyTorch and last in JAX, and any other is the same in both, unless only another layout
    has the same shape or `output_layout` says so.

    Of layers with weights, what they read is compared too, so that a mistake between two of them, such as another
    activation, is told from one in them.

    Args:
        path: a checkpoint, or a file of `save_params`, as `restore` takes it; or the PyTorch module, which is not
            changed; or a file of `record`.
        model: a name in `parity.MODELS`; or `apply`, the network in eval mode as (variables, inputs) → output.
        variables: the variables that `apply` takes.
        inputs: one batch in JAX's layout, images with the channels last; for a checkpoint, None draws events, and a
            recording has its own. For a pair, a tuple is several positional arguments and a dict several keyword
            arguments of both networks. Among them, what is not an array, such as None or `False`, is passed as it is.
        rules: the rule table that gave `variables`; by default `infer_rules` infers it.
        torch_inputs: the same batch in PyTorch's layout, likewise; by default arrays of four axes and more get their
            channels first, unless they are boolean, and all others are unchanged. Floating-point arrays of three axes
            could be either, and need it.
        output_layout: "same" or "channels_first", how PyTorch has the leaves of its output that JAX has with the
            channels last; or {leaf: layout} with the names of the certificate, "output", "output/0", "output/logits".
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
        "output" says how many arrays and numbers of the output were compared, which is never none; "layers",
        "layer_inputs" and "gradients" are in the order of computation; "weights" names the leaves that differ,
        "unwatched" the PyTorch layers with weights that could not be paired with a call and are judged only by what
        follows them, and "left_out" the calls of layers without weights for which that is so. Of a failed certificate,
        "blame" is where the networks depart first: in which "layer", or "between" which two places and which "modules"
        PyTorch has there, and whether it is the "formula", since the float64 runs depart, or the arithmetic alone. Its
        "convention" and "cause" say in which known convention, such as ε, JAX departs from PyTorch's formula: one with
        which PyTorch's own float64 run, repeated, agrees with JAX's.

    Raises:
        CertificationError: a layer, a gradient or a weight fails. The message names the first; the certificate, written
            nevertheless, is the exception's `certificate`.
        CheckpointError, ConversionError: as `load`, `infer_rules` and `convert`; nothing is written.
        EventShapeError: the inputs are not events of the model, there are none, or the outputs of a network or of a
            layer have other sizes in PyTorch.
        OutputStructureError: the networks return different trees, or something that cannot be compared, or nothing.
        AmbiguousLayoutError: an input or an output may have its channels first or not.
        ConfigurationError: arguments of one kind are given for the other; fewer than one event; an impossible seed; a
            module that does not run or cannot be copied; or a network that casts to float32.
        OutputError: the certificate cannot be written, or would replace the checkpoint.
        MissingDependencyError: torch is not installed.

    Example:
        >>> import flax.linen as nn, numpy as np, parity, torch
        >>> linear = torch.nn.Linear(4, 3)
        >>> dense, x = nn.Dense(3), np.random.default_rng(0).normal(size=(64, 4))
        >>> variables = {"params": {"kernel": linear.weight.detach().numpy().T, "bias": linear.bias.detach().numpy()}}
        >>> certificate = parity.certify(linear, dense.apply, variables, x)
        >>> certificate["passed"], [entry["layer"] for entry in certificate["layers"]]
        (True, ['output'])
    """
    if isinstance(path, str | os.PathLike) and callable(model) and variables is not None:
        given = {**options, "inputs": inputs}
        wrong = [name for name in ("inputs", "torch_inputs") if given.get(name) is not None]
        wrong += ["gradients"] if given.get("gradients") else []
        if wrong:
            raise ConfigurationError(
                f"a recording has its own inputs, and no gradients; got {', '.join(wrong)}: record the module again "
                f"with other inputs, or certify it beside PyTorch"
            )
        return certify_modules(read_recording(path), model, variables, None, **options)
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
