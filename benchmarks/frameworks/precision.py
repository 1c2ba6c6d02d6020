"""The precision of matrix products and convolutions, set for both frameworks alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import numpy as np
import torch

from mathdnn_jax.errors import ConfigurationError

DEFINITIONS = {
    "f32": {"dtype": "float32", "jax_matmul": "highest", "torch_matmul": "highest", "torch_cudnn_tf32": False},
    "tf32": {"dtype": "float32", "jax_matmul": "tensorfloat32", "torch_matmul": "high", "torch_cudnn_tf32": True},
    "bf16": {"dtype": "bfloat16", "jax_matmul": "highest", "torch_matmul": "highest", "torch_cudnn_tf32": False},
}
"""What each precision means in either framework. JAX multiplies float32 arrays in TF32 on a GPU by default, and PyTorch
does not. With bf16 the arrays are bfloat16, and whatever a model keeps in float32 is multiplied in float32."""
EPSILON = {"f32": 2.0**-23, "tf32": 2.0**-10, "bf16": 2.0**-7}
"""The distance from 1 to the next larger number in each precision."""


@contextmanager
def precision_of_both(precision: str, *, stand_in: bool = False) -> Iterator[None]:
    """Multiply in this precision inside the context, in JAX and in PyTorch, matrices and convolutions.

    Args:
        precision: a name in `DEFINITIONS`.
        stand_in: whether float32 may stand in for TF32 on a CPU, which has no TF32. Both frameworks get the setting
            all the same, and ignore it.

    Raises:
        ConfigurationError: there is no precision of this name, or it is TF32 and the device is not a GPU.
    """
    if precision not in DEFINITIONS:
        raise ConfigurationError(f"given {precision!r}, expected a precision: {', '.join(DEFINITIONS)}")
    if precision == "tf32" and jax.default_backend() != "gpu" and not stand_in:
        raise ConfigurationError(
            f"tf32 is a format of NVIDIA's tensor cores, and JAX computes on a {jax.default_backend()}: use f32 or bf16"
        )
    definition = DEFINITIONS[precision]
    matmul, cudnn = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision(str(definition["torch_matmul"]))
    torch.backends.cudnn.allow_tf32 = bool(definition["torch_cudnn_tf32"])
    try:
        with jax.default_matmul_precision(str(definition["jax_matmul"])):
            yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32 = cudnn


def as_array(result: object) -> np.ndarray:
    """Copy a result of either framework to the host, as float64 if its dtype is a floating-point one."""
    if isinstance(result, torch.Tensor):
        host = result.detach().cpu()
        array: np.ndarray = (host.double() if host.is_floating_point() else host).numpy()
        return array
    array = np.asarray(result)
    # NumPy does not count bfloat16 among its floating-point dtypes.
    return array if array.dtype.kind in "biu" else array.astype(np.float64)


def as_arrays(result: object) -> tuple[np.ndarray, ...]:
    """Copy a result to the host, whether it is one array or a tuple or list of arrays."""
    parts = result if isinstance(result, tuple | list) else (result,)
    return tuple(as_array(part) for part in parts)
