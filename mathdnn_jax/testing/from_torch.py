"""PyTorch maps as JAX functions, with values from a callback and derivatives from autograd's Jacobian.

This is the only file of the library that imports PyTorch, and it does so only when the adapter is called.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.errors import MissingDependencyError
from mathdnn_jax.testing.adapted import Adapted, makes_bijectors

Function = Callable[[Any], tuple[Any, Any]]
"""A function from a tensor (N, …) to (value (N, …), log_det)."""


def from_torch(module: Any, event_ndims: int | None = None) -> Adapted:
    """Adapt a PyTorch map for `check_bijector`.

    The adapter is for checks only, because each call leaves JAX and each Jacobian takes one backward pass per entry.
    The derivative of the returned JAX functions is autograd's Jacobian, in forward and reverse mode, so the same checks
    apply as to any other map. In a Jacobian, events are mapped independently of each other. Parameters stay as they
    are, so load or draw the ones that are to be checked first.

    Args:
        module: one of
            - an `nn.Module` whose forward returns (z, log_det) for x of shape (N, …), and which may have a similar
              method `inverse`. Copies in float32 and float64 are made, in evaluation mode.
            - a `torch.distributions.Transform` (zuko's transforms are such too), used as it is for both dtypes.
            - a function dtype → one of these.
        event_ndims: the number of trailing axes of one event. The default is 1 for a module, and the number that its
            domain states for a transform. Log-dets of further axes are summed.

    Returns:
        The forward and the inverse map as plain functions of x. The inverse is None for a module without `inverse`.

    Raises:
        MissingDependencyError: PyTorch is not installed.

    Source: `torch.distributions.transforms` and `torch.autograd.functional.jacobian` of PyTorch 2.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingDependencyError(
            'from_torch needs PyTorch; install it with pip install "mathdnn_jax[parity]"'
        ) from error

    dtypes = {np.dtype(np.float32): torch.float32, np.dtype(np.float64): torch.float64}
    made = {name: _make(module, dtype, torch) for name, dtype in dtypes.items()}
    some = made[np.dtype(np.float64)]
    is_transform = isinstance(some, torch.distributions.Transform)
    own = some.domain.event_dim if is_transform else 1
    axes = own if event_ndims is None else event_ndims

    def direction(name: str, axes: int) -> Callable[[jax.Array], Any]:
        functions = {dtype: _function(one, name, axes, is_transform) for dtype, one in made.items()}
        return _as_jax(functions, axes, torch)

    if not is_transform and not hasattr(some, "inverse"):
        return Adapted(direction("forward", axes), None)
    out_axes = axes - own + some.codomain.event_dim if is_transform else axes
    return Adapted(direction("forward", axes), direction("inverse", out_axes))


def _make(module: Any, dtype: Any, torch: Any) -> Any:
    made = module(dtype) if makes_bijectors(module) else module
    return copy.deepcopy(made).to(dtype).eval() if isinstance(made, torch.nn.Module) else made


def _function(module: Any, name: str, axes: int, is_transform: bool) -> Function:
    def of_module(x: Any) -> tuple[Any, Any]:
        value, log_det = module(x) if name == "forward" else module.inverse(x)
        return value, log_det

    def of_transform(x: Any) -> tuple[Any, Any]:
        transform = module if name == "forward" else module.inv
        value = transform(x)
        log_det = transform.log_abs_det_jacobian(x, value)
        return value, log_det.flatten(x.ndim - axes).sum(-1) if log_det.ndim > x.ndim - axes else log_det

    return of_transform if is_transform else of_module


def _as_jax(functions: dict[Any, Function], axes: int, torch: Any) -> Callable[[jax.Array], Any]:
    def values(x: Any) -> tuple[np.ndarray, np.ndarray]:
        x = np.asarray(x)
        rows, batch_shape = _rows(x, axes)
        with torch.no_grad():
            value, log_det = functions[x.dtype](torch.tensor(rows))
        value, log_det = value.numpy(), log_det.numpy()
        # A log_det that is not one number per row is passed on in its own shape, so that the checker can report it.
        if log_det.shape == rows.shape[:1]:
            log_det = np.reshape(log_det, batch_shape)
        return np.reshape(value, (*batch_shape, *value.shape[1:])), log_det

    def jacobians(x: Any) -> tuple[np.ndarray, ...]:
        x = np.asarray(x)
        rows, batch_shape = _rows(x, axes)
        found = [
            torch.autograd.functional.jacobian(lambda row: _first(functions[x.dtype](row[None])), torch.tensor(row))
            for row in rows
        ]
        value = np.stack([one.numpy() for one, _ in found]).astype(x.dtype)
        log_det = np.stack([one.numpy() for _, one in found]).astype(x.dtype)
        return tuple(np.reshape(array, (*batch_shape, *array.shape[1:])) for array in (value, log_det))

    def shapes(x: Any) -> Any:
        # Only the shapes matter, and one half lies in every common domain.
        return jax.tree.map(lambda y: jax.ShapeDtypeStruct(y.shape, y.dtype), values(np.full(x.shape, 0.5, x.dtype)))

    @jax.custom_jvp
    def function(x: jax.Array) -> Any:
        return jax.pure_callback(values, shapes(x), x, vmap_method="broadcast_all")

    @function.defjvp
    def derivative(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> Any:
        (x,), (tangent,) = primals, tangents
        value, log_det = function(x)
        batch_shape, event_shape = x.shape[: x.ndim - axes], x.shape[x.ndim - axes :]
        latent_shape = value.shape[len(batch_shape) :]
        results = (
            jax.ShapeDtypeStruct((*batch_shape, *latent_shape, *event_shape), x.dtype),
            jax.ShapeDtypeStruct((*batch_shape, *event_shape), x.dtype),
        )
        jacobian, gradient = jax.pure_callback(jacobians, results, x, vmap_method="broadcast_all")
        size = math.prod(event_shape)
        flat = tangent.reshape(*batch_shape, size)
        moved = jnp.einsum("...ij,...j->...i", jacobian.reshape(*batch_shape, -1, size), flat)
        log_det_moved = jnp.einsum("...j,...j->...", gradient.reshape(*batch_shape, size), flat)
        return (value, log_det), (moved.reshape(value.shape).astype(value.dtype), log_det_moved.astype(log_det.dtype))

    return function


def _rows(x: np.ndarray, axes: int) -> tuple[np.ndarray, tuple[int, ...]]:
    batch_shape, event_shape = x.shape[: x.ndim - axes], x.shape[x.ndim - axes :]
    return np.reshape(x, (math.prod(batch_shape), *event_shape)), batch_shape


def _first(results: tuple[Any, Any]) -> tuple[Any, Any]:
    value, log_det = results
    return value[0], log_det[0]
