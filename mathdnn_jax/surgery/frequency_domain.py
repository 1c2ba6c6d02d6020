"""Large convolutions computed in the frequency domain, their spectra built once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.nets import Conv, FrequencyConv, Sequential
from mathdnn_jax.nets.kernels.correlate import LARGE_KERNEL
from mathdnn_jax.nets.layers.frequency_conv import kernel_spectrum
from mathdnn_jax.nets.layers.layer import Shape
from mathdnn_jax.surgery.layer_list import Bench, Variables, on_device
from mathdnn_jax.surgery.report import SurgeryReport

MEBIBYTE = 2**20


def frequency_domain(
    network: Sequential, variables: Variables, input_shape: Shape
) -> tuple[Sequential, dict[str, Any], SurgeryReport]:
    """Return the same network with large convolutions as products in the frequency domain, see `FrequencyConv`.

    It is for a network that slides over larger images, as `dense_to_conv` makes it: its 18 × 18 head then takes a tenth
    of the operations. Replaced are convolutions along two axes with at least 64 taps, of stride and dilation 1, without
    groups or padding. Outputs are the same but for rounding: the spectra are computed in float64 and rounded once.

    Memory: a spectrum of tiles t takes 2 t_1 (⌊t_2/2⌋ + 1)/(k_1 k_2) times its kernel, which the new variables do not
    hold any more; the report states both in MiB. For Net2 on 36 × 38 images it is 2288 MiB for 1296.

    Args:
        network: a network.
        variables: its variables.
        input_shape: an event (H, W, C) of the size that it is to be fast for. A tile is the image that reaches the
            layer, at most twice the kernel along an axis; images of any other size work too.

    Raises:
        ConfigurationError: there is no such convolution.
        EventShapeError, ImageError: `input_shape` is not of the network's events.
        ParameterStructureError: the variables are not the network's.

    Source: Mathieu, Henaff, LeCun, 2013; seed 000 Q2 for Net2.
    """
    bench = Bench(network, variables)
    shapes = {"": tuple(input_shape), **network.output_shapes(input_shape)}
    names = list(shapes)
    replaced = False
    for item in bench.items:
        layer = item.layer
        if not isinstance(layer, Conv) or len(layer.kernel) != 2 or math.prod(layer.kernel) < LARGE_KERNEL:
            continue
        if layer.groups > 1 or {*layer.strides, *layer.dilations} != {1} or any(map(any, layer.pads)):
            item.note("left", "has strides, dilations, groups or padding")
            continue
        before = shapes[names[names.index(item.name) - 1]][:2]
        tile = tuple(min(n, 2 * k) for n, k in zip(before, layer.kernel, strict=True))
        kernel = np.asarray(item.params.pop("kernel"))
        spectrum = kernel_spectrum(kernel, tile)
        item.params["spectrum"] = on_device(spectrum)
        item.layer = FrequencyConv(layer.features, layer.kernel, tile, layer.bias)
        item.note(
            "replaced",
            f"by products in the frequency domain on tiles of {tile[0]} x {tile[1]}: a spectrum of "
            f"{spectrum.nbytes / MEBIBYTE:.1f} MiB for a kernel of {kernel.nbytes / MEBIBYTE:.1f} MiB",
        )
        replaced = True
    if not replaced:
        raise ConfigurationError(
            f"frequency_domain replaces convolutions along two axes of at least {LARGE_KERNEL} taps, of stride and "
            f"dilation 1, without groups or padding; this network has none"
        )
    return bench.assemble("frequency_domain")
