"""Net1 on images of its own size, and Net2, the same network slid over larger images, beside Net1 on every patch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import torch

from benchmarks.case import Case, Settings, Workload
from benchmarks.frameworks import on_jax, on_torch
from benchmarks.workloads.networks import channels_first, draw, network_baselines, size, uniform
from mathdnn_jax.nets import Sequential, net1
from mathdnn_jax.surgery import count_operations, dense_to_conv, frequency_domain
from parity import convert
from parity.reference import Net1, Net2

Widths = dict[str, Any]
FULL: Widths = {"channels": (64, 192, 384, 256, 256), "hidden": 4096}
QUARTER: Widths = {"channels": (16, 48, 96, 64, 64), "hidden": 256}
QUICK: Widths = {"channels": (2, 3, 4, 3, 2), "hidden": 5}
SIDE = 32
BATCH = 10
PATCHES = "Net1 on each patch"
DIRECT = (
    "an 18 x 18 kernel takes 324 products for every entry of the image; use frequency_domain instead, as in the next "
    "row"
)
STREAMED = "products of a matrix and a vector, limited by the streaming of 1.4 GB of weights from memory"
CLOSE = 1e-4
"""How far outputs may differ, relative to the greatest: they are sums of 82,944 products in float32."""


def net1_cases(settings: Settings) -> Iterator[Case]:
    """Net1, unchanged."""
    widths = QUICK if settings.quick else FULL
    state, network, variables = prepare(widths)
    module = on_torch.module_with(lambda: Net1(**widths), state)
    for batch in settings.batches or ((2,) if settings.quick else (1, BATCH)):
        images = uniform(batch, SIDE, SIDE, 3)
        targets, why = ({"best": 1.5}, "") if batch > 1 else ({}, STREAMED)
        yield _case(f"batch {batch}", network, variables, module, images, settings, targets, why=why)


def net2_cases(settings: Settings) -> Iterator[Case]:
    """Net2 as made by `dense_to_conv`; then with its head as made by `frequency_domain`, once for all images.

    PyTorch runs Net2 in the better of its layouts, and Net1 on each patch of a batch of images, as in the course.
    """
    plans = [(QUICK, 2, (34, 35))] if settings.quick else [(FULL, BATCH, (36, 38)), (FULL, 1, (64, 64))]
    plans += [] if settings.quick else [(QUARTER, 1, (224, 224))]
    for widths, batch, shape in plans:
        yield from _sliding(widths, (settings.batches or (batch,))[0], shape, settings)


def prepare(widths: Widths) -> tuple[dict[str, np.ndarray], Sequential, Any]:
    """Return the weights of Net1 as PyTorch has them, the network, and its variables on the device."""
    state = draw(lambda: Net1(**widths))
    return state, net1(**widths), on_jax.cast(convert(state, "net1"), "f32")


def _sliding(widths: Widths, batch: int, shape: tuple[int, int], settings: Settings) -> Iterator[Case]:
    state, network, variables = prepare(widths)
    module = on_torch.module_with(lambda: Net1(**widths), state)
    network, variables, _ = dense_to_conv(network, variables, (SIDE, SIDE, 3))
    larger = Net2(**widths)
    larger.copy_weights_from(module.cpu())
    larger, module = larger.to(on_torch.device()).eval(), module.to(on_torch.device())
    images = uniform(batch, *shape, 3)
    there = on_torch.on_device(channels_first(images))
    rows, columns = (n - SIDE + 1 for n in shape)

    @torch.inference_mode()
    def patches() -> torch.Tensor:
        made = torch.stack(
            [module(there[..., i : i + SIDE, j : j + SIDE]) for i in range(rows) for j in range(columns)], 1
        )
        return on_torch.finished(made.reshape(batch, rows, columns, -1))

    # The patches of the largest images would take minutes.
    others = {PATCHES: patches} if rows * columns <= 36 else {}
    label = f"{batch} of {shape[0]} x {shape[1]}" + (", a quarter of the widths" if widths is QUARTER else "")
    yield _case(label, network, variables, larger, images, settings, {}, others, DIRECT)
    network, variables, _ = frequency_domain(network, variables, (*shape, 3))
    targets = {"best": 2.5, PATCHES: 15.0} if others and not settings.quick else {}
    label += f", head in the frequency domain, {size(variables) / 2**20:.0f} MiB of weights"
    yield _case(label, network, on_jax.cast(variables, "f32"), larger, images, settings, targets, others)


def _case(
    label: str,
    network: Sequential,
    variables: Any,
    module: torch.nn.Module,
    images: np.ndarray,
    settings: Settings,
    targets: dict[str, float],
    others: dict[str, Callable[[], torch.Tensor]] | None = None,
    why: str = "",
) -> Case:
    apply: Any = jax.jit(network.apply)
    x = on_jax.on_device(images)
    there = on_torch.on_device(channels_first(images))
    operations = count_operations(network, images.shape[1:])
    return Case(
        label=label,
        items=len(images),
        unit="images",
        jax=lambda: apply(variables, x).block_until_ready(),
        torch=network_baselines(module, [there], settings, read=lambda y: torch.movedim(y, 1, -1)),
        others=others or {},
        tolerance=CLOSE,
        flops=float(len(images) * (operations.convolution_operations + operations.dense_operations)),
        least_bytes=float(size(variables) + images.nbytes),
        targets=targets,
        why=why,
        lowered=lambda: apply.lower(variables, x),
    )


NET1 = Workload("net1", "Net1, five convolutions and three dense layers, on images of 32 x 32", net1_cases)
NET2 = Workload("net2", "Net2, the same network in convolutions, on larger images", net2_cases)
