"""The PyTorch module beside which a JAX network is certified: copied in float32 and in float64, run, and watched."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from mathdnn_jax.errors import ConfigurationError
from parity.capture import OUTPUT, Place, torch_array, torch_values
from parity.certification.inputs import Arguments, as_tensors
from parity.nested import Outline, kind_of_array, leaves, outline

Recorded = dict[Place, np.ndarray]
"""The arrays that the layers of a network take and return, in the order of computation, and its own output."""


def copied(module: Any, dtype: Any) -> Any:
    """Return a copy of a module in eval mode, with its floating-point numbers in this dtype.

    `copy.deepcopy` refuses tensors that were computed from others, which old-style weight and spectral norms leave in
    the module; they are computed again, so their values are enough. Tensors that are neither parameters nor buffers get
    the dtype too.

    Raises:
        ConfigurationError: the module cannot be copied, or is compiled by TorchScript.
    """
    import torch

    if any(isinstance(submodule, torch.jit.ScriptModule) for submodule in module.modules()):
        raise ConfigurationError(
            "a certificate watches the layers of a PyTorch module, which TorchScript does not allow: give the module "
            "that was scripted or traced"
        )
    known = {id(tensor) for tensor in (*module.parameters(), *module.buffers())}
    memo: dict[int, Any] = {}
    for submodule in module.modules():
        for _, value in leaves(dict(vars(submodule))):
            if isinstance(value, torch.Tensor) and id(value) not in known:
                plain = value.detach().clone()
                memo[id(value)] = plain.to(dtype) if plain.is_floating_point() else plain
    try:
        made = copy.deepcopy(module, memo).eval()
        # Not .to(dtype), which would take the imaginary part from complex buffers.
        made = made.double() if dtype == torch.float64 else made.float()
    except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
        raise ConfigurationError(
            f"the PyTorch module cannot be copied, which a certificate needs so as not to change it: "
            f"{_first_line(error)} — remove what cannot be copied from the module, or define __deepcopy__"
        ) from error
    for parameter in made.parameters():
        # Frozen weights have gradients too.
        parameter.requires_grad_(parameter.is_floating_point())
    return made


@contextmanager
def in_float64() -> Iterator[None]:
    """Compute in float64 what a module computes in float32 in any case: in tensors that it makes, and after casts.

    Norms and attentions often cast to float32, for the sake of models in half precision; the truth is not to be rounded
    there.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    class Lifted(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            del types

            def lifted(value: Any) -> Any:
                return torch.float64 if value is torch.float32 else value

            first = args[0] if args else None
            if not (isinstance(first, torch.Tensor) and first.dtype in (torch.float16, torch.bfloat16)):
                function = torch.Tensor.double if function is torch.Tensor.float else function
                args = tuple(map(lifted, args))
                kwargs = {name: lifted(value) for name, value in (kwargs or {}).items()}
            return function(*args, **(kwargs or {}))

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with Lifted():
            yield
    finally:
        torch.set_default_dtype(before)


def call(module: Any, arguments: Arguments, arrays: Mapping[str, Any]) -> Any:
    """Return the module's output; all is computed in float64 if an array is.

    Raises:
        ConfigurationError: the module does not take these inputs, or does not run in float64.
    """
    import torch

    wide = any(array.dtype in (torch.float64, torch.complex128) for array in arrays.values())
    wide = wide or any(parameter.dtype == torch.float64 for parameter in module.parameters())
    try:
        with in_float64() if wide else nullcontext():
            return arguments.call(module, arrays)
    except (RuntimeError, TypeError, ValueError, IndexError, AssertionError) as error:
        shapes = ", ".join(f"{str(x.dtype).removeprefix('torch.')} {tuple(x.shape)}" for x in arrays.values())
        raise ConfigurationError(
            f"the PyTorch module does not run on inputs of {shapes}: {_first_line(error)} — give torch_inputs= in the "
            f"shapes that it takes, and let it compute in the dtype of its parameters"
        ) from error


def record(module: Any, arguments: Arguments, arrays: Iterable[np.ndarray]) -> tuple[Recorded, Outline]:
    """Return what the module's layers take and return, with its own output as that of the layer "", and its tree.

    Raises:
        OutputStructureError: there are other things in the output than arrays, numbers and None.
        ConfigurationError: the module does not run on these arrays.
    """
    import torch

    tensors = as_tensors(dict(zip(arguments.arrays, arrays, strict=True)))
    with torch.no_grad(), torch_values(module) as values:
        output = call(module, arguments, tensors)
    tree = outline(output, lambda leaf: kind_of_array(_array(leaf)))
    own = {Place("", OUTPUT, path): _array(leaf) for path, leaf in leaves(output) if leaf is not None}
    return {**values, **own}, tree


def _array(leaf: Any) -> Any:
    """Return a tensor or a number as an array; anything else as it is."""
    array = torch_array(leaf)
    if array is None and isinstance(leaf, bool | int | float | complex):
        return np.asarray(leaf)
    return leaf if array is None else array


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
