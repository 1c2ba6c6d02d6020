"""A linear map with its log-determinant: PLU factors, beside a dense matrix and `slogdet`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks.case import Case, Contender, Settings, Workload
from benchmarks.frameworks import on_jax, on_torch
from mathdnn_jax.bijectors import plu
from mathdnn_jax.bijectors.plu import plu_matrix

CHANNELS = (3, 12, 48, 96, 192, 512)
VECTORS = 1024
"""The number of pixels of an image of 32 × 32."""
Pair = tuple[torch.Tensor, torch.Tensor]
THIN = "XLA on a CPU is slower at products of rows with few entries; for 12 to 96 channels the cause is not known"


def cases(settings: Settings) -> Iterator[Case]:
    """The map of many vectors with one log-determinant, for each number of channels."""
    for channels in (3, 4) if settings.quick else CHANNELS:
        for vectors in settings.batches or ((8,) if settings.quick else (VECTORS,)):
            yield _case(channels, vectors, settings)


def _case(channels: int, vectors: int, settings: Settings) -> Case:
    bijector = plu(channels, np.arange(channels)[::-1])
    params = bijector.init(jax.random.key(0))
    x = np.random.default_rng(0).standard_normal((vectors, channels), dtype=np.float32)
    matrix = np.array(plu_matrix(params, np.arange(channels)[::-1]))
    events, dense = on_jax.on_device(x), on_jax.on_device(matrix)

    def factors(params: dict[str, jax.Array], x: jax.Array) -> tuple[jax.Array, jax.Array]:
        z, log_det = bijector.forward(params, x)
        return z, log_det[0]

    def by_slogdet(matrix: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return x @ matrix.T, jnp.linalg.slogdet(matrix)[1]

    program, other = jax.jit(factors), jax.jit(by_slogdet)
    a, same = on_torch.on_device(matrix), on_torch.on_device(x)
    parts = {name: on_torch.on_device(np.array(value)) for name, value in params.items()}
    return Case(
        why=THIN,
        label=f"C = {channels}",
        items=vectors,
        unit="vectors",
        jax=lambda: jax.block_until_ready(program(params, events)),
        torch=_baselines(a, parts, same, settings),
        others={"JAX, dense slogdet": lambda: jax.block_until_ready(other(dense, events))},
        # The dense matrix is rounded once more than the factors, so the log-determinants do not agree to an ulp.
        tolerance=1e-5 + 1e-7 * channels,
        flops=2 * vectors * channels**2,
        least_bytes=4 * (channels**2 + 2 * vectors * channels),
        lowered=lambda: program.lower(params, events),
    )


def _baselines(
    a: torch.Tensor, parts: dict[str, torch.Tensor], x: torch.Tensor, settings: Settings
) -> dict[str, Contender]:
    def dense() -> Pair:
        return x @ a.T, torch.linalg.slogdet(a).logabsdet

    def factors() -> Pair:
        lower = parts["lower"].tril(-1) + torch.eye(len(a), device=a.device)
        upper = parts["upper"].triu(1) + torch.diag(parts["diagonal"])
        return x @ (lower @ upper).flip(0).T, parts["diagonal"].abs().log().sum()

    functions: dict[str, Callable[[], Pair]] = {"dense slogdet": dense, "PLU factors": factors}
    functions |= on_torch.compiled(factors, settings, "PLU factors, compiled")
    return {name: on_torch.inference(function) for name, function in functions.items()}


WORKLOAD = Workload("plu", "a linear map and its log-determinant from PLU factors, beside a dense slogdet", cases)
