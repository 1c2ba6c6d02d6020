"""The log-likelihood of images by NICE: `jax.jit(flow.log_prob)` beside the PyTorch twin."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import torch

from benchmarks import on_jax, on_torch
from benchmarks.agreement import RULE
from benchmarks.compare import compare
from benchmarks.limit import SIZE, Limit, best, matmul_rates
from benchmarks.machine import describe_machine
from benchmarks.nice_work import by_jax, by_torch, flops_per_event, prepare
from mathdnn_jax.errors import ConfigurationError
from parity.models import Config

SIZES = {"dim": 784, "width": 1000, "depth": 5, "couplings": 4}
BATCH = 1000


def measure(
    *,
    images: int = 10_000,
    batches: Sequence[int] | None = None,
    repeat: int = 7,
    checkpoint: str | os.PathLike[str] | None = None,
    config: Config | None = None,
    matmul_size: int = SIZE,
    say: Callable[[str], object] = lambda _: None,
) -> dict[str, Any]:
    """Time log p of `images` events in both frameworks, for each batch size, by interleaved pairs.

    Args:
        images: how many events.
        batches: events at a time; None is one size, `BATCH`, or all the images if they are fewer.
        repeat: how many pairs.
        checkpoint: weights, as `parity.restore` takes them; None draws them.
        config: sizes of the drawn network, `SIZES` by default.
        matmul_size: of the product that measures the limit.
        say: told in a line what is being done.

    Returns:
        The figures, as the JSON file has them. `batches` has what `compare` returns for each batch size, in seconds
        for all the images, where a first call is one batch; and `matmul_share`, the network's own FLOP/s over those
        of a large product in the same framework.

    Raises:
        ConfigurationError: there is nothing to time, or JAX's device is not PyTorch's.
        OutputsDifferError: the frameworks do not compute the same.
        CheckpointError, ConversionError: as `parity.restore` does.
    """
    batches = [min(BATCH, images)] if batches is None else batches
    check_arguments(images, batches, repeat)
    with on_jax.highest_precision(), on_torch.highest_precision():
        say(f"preparing {images:,} images and their log p in float64")
        work = prepare(images, checkpoint, config or SIZES)
        limit = Limit(matmul_size, {"jax": on_jax.matmul(matmul_size), "torch": on_torch.matmul(matmul_size)})
        rates, results = matmul_rates(limit), []
        for batch in batches:
            say(f"batches of {batch:,}: comparing the outputs, then {repeat} pairs")
            jax_side = by_jax(work.flow, work.params, work.events, batch)
            torch_side = by_torch(work.module, work.events, batch)
            results.append({"batch": batch, **compare(jax_side, torch_side, work.truth, repeat)})
            # Again and again, since a limit that was measured in a disturbed moment flatters the shares.
            rates = best(rates, matmul_rates(limit))

    flops = flops_per_event(work.params)
    for result in results:
        for name, rate in rates.items():
            result[name]["matmul_share"] = flops * result[name]["items_per_s"] / rate
    return {
        "workload": "nice",
        "config": work.config,
        "weights": work.weights,
        "images": images,
        "repeat": repeat,
        "flops_per_image": flops,
        "precision": {"dtype": "float32", "jax_matmul": on_jax.PRECISION, "torch_matmul": on_torch.PRECISION},
        "torch": {"device": str(on_torch.device()), "threads": torch.get_num_threads()},
        "machine": describe_machine(),
        "matmul": {"size": matmul_size, "flops_per_s": rates},
        "agreement": RULE,
        "batches": results,
    }


def check_arguments(images: int, batches: Sequence[int], repeat: int) -> None:
    """Raise ConfigurationError unless there are images, pairs, and batch sizes that fit."""
    if images < 1 or repeat < 1:
        raise ConfigurationError(f"at least one image and one pair can be timed, given {images=} and {repeat=}")
    if not batches or len(set(batches)) < len(batches):
        raise ConfigurationError(f"one or more batch sizes are timed, each once, given {list(batches)}")
    wrong = [batch for batch in batches if not 1 <= batch <= images]
    if wrong:
        raise ConfigurationError(f"a batch has from 1 to all {images} images, given {', '.join(map(str, wrong))}")
