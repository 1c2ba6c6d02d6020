"""PyTorch's output for a layer's description and arrays, with channels-last inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mathdnn_jax import nets

Arrays = Mapping[str, np.ndarray]


def torch_apply(layer: nets.Layer, arrays: Arrays, x: np.ndarray) -> np.ndarray:
    """PyTorch's functional form of the layer in eval mode, on x (batch, …, channels)."""
    import torch

    y = FUNCTIONS[type(layer)](layer, arrays, torch.from_numpy(np.moveaxis(x, -1, 1).copy()))
    out: np.ndarray = np.moveaxis(y.numpy(), 1, -1)
    return out


def to_torch(array: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(array))


def conv_weight(layer: nets.Conv, kernel: np.ndarray) -> np.ndarray:
    return np.moveaxis(kernel, (-1, -2), (0, 1))


def conv_transpose_weight(layer: nets.ConvTranspose, kernel: np.ndarray) -> np.ndarray:
    """(k…, I/G, O) → (I, O/G, k…), with reversed spatial axes."""
    *extents, inputs, features = kernel.shape
    groups = layer.groups
    split = np.flip(kernel, tuple(range(len(extents)))).reshape(*extents, inputs, groups, features // groups)
    return np.moveaxis(split, (-2, -3, -1), (0, 1, 2)).reshape(groups * inputs, features // groups, *extents)


def _conv(layer: Any, arrays: Arrays, x: Any) -> Any:
    from torch.nn import functional

    x = functional.pad(x, [n for pair in reversed(layer.pads) for n in pair])
    function = (functional.conv1d, functional.conv2d, functional.conv3d)[len(layer.kernel) - 1]
    bias = to_torch(arrays["bias"]) if layer.bias else None
    weight = to_torch(conv_weight(layer, arrays["kernel"]))
    return function(x, weight, bias, layer.strides, 0, layer.dilations, layer.groups)


def _conv_transpose(layer: Any, arrays: Arrays, x: Any) -> Any:
    from torch.nn import functional

    function = (functional.conv_transpose1d, functional.conv_transpose2d)[len(layer.kernel) - 1]
    bias = to_torch(arrays["bias"]) if layer.bias else None
    weight = to_torch(conv_transpose_weight(layer, arrays["kernel"]))
    return function(x, weight, bias, layer.strides, layer.crops, layer.extras, layer.groups, layer.dilations)


def _pool(name: str) -> Callable[..., Any]:
    def pool(layer: Any, arrays: Arrays, x: Any) -> Any:
        from torch.nn import functional

        extra = {"count_include_pad": layer.count_include_pad} if name == "avg" else {}
        return getattr(functional, f"{name}_pool2d")(x, layer.kernel, layer.strides, layer.padding, **extra)

    return pool


def _batch_norm(layer: Any, arrays: Arrays, x: Any) -> Any:
    from torch.nn import functional

    scale, bias = (to_torch(arrays[name]) if layer.affine else None for name in ("scale", "bias"))
    return functional.batch_norm(x, to_torch(arrays["mean"]), to_torch(arrays["var"]), scale, bias, eps=layer.epsilon)


def _entrywise(name: str) -> Callable[..., Any]:
    def function(layer: Any, arrays: Arrays, x: Any) -> Any:
        from torch.nn import functional

        extra: dict[str, Any] = {"negative_slope": layer.slope} if isinstance(layer, nets.LeakyRelu) else {}
        if isinstance(layer, nets.Gelu):
            extra = {"approximate": "tanh" if layer.approximate else "none"}
        return getattr(functional, name)(x, **extra)

    return function


def _dense(layer: Any, arrays: Arrays, x: Any) -> Any:
    from torch.nn import functional

    bias = to_torch(arrays["bias"]) if layer.bias else None
    return functional.linear(x.movedim(1, -1), to_torch(arrays["kernel"].T), bias).movedim(-1, 1)


def _flatten(layer: Any, arrays: Arrays, x: Any) -> Any:
    return x.flatten(1) if layer.channels == "first" else x.movedim(1, -1).flatten(1)


def _upsample(layer: Any, arrays: Arrays, x: Any) -> Any:
    from torch.nn import functional

    return functional.interpolate(x, scale_factor=tuple(map(float, layer.factors)), mode="nearest")


def _same(layer: Any, arrays: Arrays, x: Any) -> Any:
    return x


FUNCTIONS: dict[type, Callable[..., Any]] = {
    nets.Conv: _conv,
    nets.ConvTranspose: _conv_transpose,
    nets.Dense: _dense,
    nets.BatchNorm: _batch_norm,
    nets.Relu: _entrywise("relu"),
    nets.LeakyRelu: _entrywise("leaky_relu"),
    nets.Tanh: _entrywise("tanh"),
    nets.Sigmoid: _entrywise("sigmoid"),
    nets.Gelu: _entrywise("gelu"),
    nets.MaxPool: _pool("max"),
    nets.AvgPool: _pool("avg"),
    nets.Flatten: _flatten,
    nets.Upsample: _upsample,
    nets.Dropout: _same,
}
