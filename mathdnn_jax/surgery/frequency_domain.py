"""Replaces large convolutions by products in the frequency domain, with spectra that are computed once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.nets import Conv, FrequencyConv, Sequential
from mathdnn_jax.nets.kernels.correlate import LARGE_KERNEL
from mathdnn_jax.nets.kernels.frequency import kernel_spectrum
from mathdnn_jax.nets.shapes import Shape
from mathdnn_jax.surgery.layer_list import LayerList, Variables, on_device
from mathdnn_jax.surgery.report import SurgeryReport

MEBIBYTE = 2**20


def frequency_domain(
    network: Sequential, variables: Variables, input_shape: Shape
) -> tuple[Sequential, dict[str, Any], SurgeryReport]:
    """Return the same network with its large convolutions as products in the frequency domain; see `FrequencyConv`.

    This is for networks that slide over larger images, as `dense_to_conv` makes them: Net2's 18 × 18 head then takes a
    tenth of the operations. Convolutions along two axes with at least 64 taps, stride and dilation 1, no groups and no
    padding are replaced. Outputs are equal up to rounding: the spectra are computed in float64 and rounded once.

    A spectrum of tiles t takes 2 t_1 (⌊t_2/2⌋ + 1)/(k_1 k_2) times the memory of its kernel, which the new variables no
    longer hold; the report states both in MiB. For Net2 on 36 × 38 images it takes 2288 MiB instead of 1296.

    Args:
        network: The network.
        variables: Its variables.
        input_shape: An event (H, W, C) of the size for which the network should be fast. A tile is the image that
            reaches the layer, at most twice the kernel along each axis; images of other sizes work as well.

    Returns:
        (network, variables, report). The inputs are not changed.

    Raises:
        ConfigurationError: The network has no such convolution.
        EventShapeError, ImageError: The network does not take events of `input_shape`.
        ParameterStructureError: The variables do not belong to the network.

    Source: Mathieu, Henaff, LeCun, 2013; course 000, Q2, for Net2.

    Example:
        >>> import jax, mathdnn_jax as mj
        >>> net = mj.Sequential(conv=mj.nets.Conv(2, 8))
        >>> x = jax.numpy.ones((1, 12, 12, 3))
        >>> variables = jax.jit(net.init)(jax.random.key(0), x)
        >>> fast, fast_variables, report = mj.frequency_domain(net, variables, (12, 12, 3))
        >>> bool(abs(jax.jit(fast.apply)(fast_variables, x) - net.apply(variables, x)).max() < 1e-4)
        True
    """
    layers = LayerList(network, variables)
    shapes = {"": tuple(input_shape), **network.output_shapes(input_shape)}
    names = list(shapes)
    replaced = False
    for item in layers.items:
        layer = item.layer
        if not isinstance(layer, Conv) or len(layer.kernel) != 2 or math.prod(layer.kernel) < LARGE_KERNEL:
            continue
        if layer.groups > 1 or {*layer.strides, *layer.dilations} != {1} or any(map(any, layer.pads)):
            item.note("left", "it has strides, dilations, groups or padding")
            continue
        before = shapes[names[names.index(item.name) - 1]][:2]
        tile = tuple(min(n, 2 * k) for n, k in zip(before, layer.kernel, strict=True))
        kernel = np.asarray(item.params.pop("kernel"))
        spectrum = kernel_spectrum(kernel, tile)
        item.params["spectrum"] = on_device(spectrum)
        item.layer = FrequencyConv(layer.features, layer.kernel, tile, layer.bias)
        item.note(
            "replaced",
            f"products in the frequency domain on tiles of {tile[0]} x {tile[1]}: a spectrum of "
            f"{spectrum.nbytes / MEBIBYTE:.1f} MiB for a kernel of {kernel.nbytes / MEBIBYTE:.1f} MiB",
        )
        replaced = True
    if not replaced:
        raise ConfigurationError(
            f"this network has no convolution along two axes with at least {LARGE_KERNEL} taps, stride and dilation 1, "
            f"and neither groups nor padding: frequency_domain replaces only those"
        )
    return layers.assemble("frequency_domain")
