"""The precision of products, set for both frameworks alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import numpy as np
import torch

from mathdnn_jax.errors import ConfigurationError

SETTINGS = {
    "f32": {"dtype": "float32", "jax_matmul": "highest", "torch_matmul": "highest", "torch_cudnn_tf32": False},
    "tf32": {"dtype": "float32", "jax_matmul": "tensorfloat32", "torch_matmul": "high", "torch_cudnn_tf32": True},
    "bf16": {"dtype": "bfloat16", "jax_matmul": "highest", "torch_matmul": "highest", "torch_cudnn_tf32": False},
}
"""What each is in either framework. JAX's own default for float32 on a GPU is TF32, PyTorch's is not; with bf16 the
arrays are bfloat16, and what a model keeps in float32 is multiplied so."""
EPSILON = {"f32": 2.0**-23, "tf32": 2.0**-10, "bf16": 2.0**-7}
"""The distance from 1 to the next number of each."""


@contextmanager
def precision_of_both(precision: str, *, stand_in: bool = False) -> Iterator[None]:
    """Multiply in that precision inside, in JAX and in PyTorch, matrices and convolutions.

    Args:
        precision: a name in `SETTINGS`.
        stand_in: on a processor, let float32 stand in for TF32, which it does not have: both frameworks are told all
            the same, and take no notice.

    Raises:
        ConfigurationError: there is none of the name, or it is TF32 and the device is not a GPU.
    """
    if precision not in SETTINGS:
        raise ConfigurationError(f"a precision is {', '.join(SETTINGS)}, given {precision!r}")
    if precision == "tf32" and jax.default_backend() != "gpu" and not stand_in:
        raise ConfigurationError(
            f"tf32 is a format of NVIDIA's tensor cores, and JAX computes on a {jax.default_backend()}: use f32 or bf16"
        )
    settings = SETTINGS[precision]
    matmul, cudnn = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision(str(settings["torch_matmul"]))
    torch.backends.cudnn.allow_tf32 = bool(settings["torch_cudnn_tf32"])
    try:
        with jax.default_matmul_precision(str(settings["jax_matmul"])):
            yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32 = cudnn


def as_array(result: object) -> np.ndarray:
    """A result of either framework on the host, float64 where it is of a floating type."""
    if isinstance(result, torch.Tensor):
        host = result.detach().cpu()
        array: np.ndarray = (host.double() if host.is_floating_point() else host).numpy()
        return array
    array = np.asarray(result)
    # bfloat16 is a floating type of its own to NumPy.
    return array if array.dtype.kind in "biu" else array.astype(np.float64)


def as_arrays(result: object) -> tuple[np.ndarray, ...]:
    """A result, one array or a tuple or list of them, on the host."""
    parts = result if isinstance(result, tuple | list) else (result,)
    return tuple(as_array(part) for part in parts)
