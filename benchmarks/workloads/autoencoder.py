"""The autoencoder: an epoch of its training in memory, and everything from a process's start to that."""

from __future__ import annotations

import importlib
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.errors import NoBaselineError
from benchmarks.frameworks import on_jax, on_torch
from benchmarks.frameworks.train_jax import fit_run
from benchmarks.frameworks.train_torch import Objective, training_runs
from benchmarks.harness.workload import Case, Run, Settings, Workload
from benchmarks.workloads.networks import SEED, draw, on_cpu, size
from mathdnn_jax.data.torchvision_import import import_torchvision_datasets
from mathdnn_jax.generative import autoencoder
from parity import convert
from parity.reference import Autoencoder

WIDTHS = (784, 256, 128, 32)
QUICK = (784, 8, 4)
IMAGES = 50_000
BATCH = 100
RATE = 1e-3
ROUGHLY = 0.05
"""How far the mean losses of an epoch may be apart, relatively: the batches are drawn in orders of their own."""
LOADER = "seed's DataLoader, eager"


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """Images that are pictures with labels until they are asked for, one by one, as torchvision's MNIST has them."""

    def __init__(self, images: np.ndarray) -> None:
        import_torchvision_datasets()
        self.to_tensor = importlib.import_module("torchvision.transforms.functional").to_tensor
        self.picture = importlib.import_module("PIL.Image").fromarray
        self.images = torch.from_numpy(images)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        row = self.images[index]
        return self.to_tensor(self.picture(row.reshape(28, -1).numpy(), mode="L")), 0


def epoch_cases(settings: Settings) -> Iterator[Case]:
    """An epoch of `fit`, shuffled, from the same weights each time; the data in memory as float32."""
    widths, count = (QUICK, 400) if settings.quick else (WIDTHS, IMAGES)
    for batch in settings.batches or (BATCH,):
        yield _epoch(widths, max(count // batch, 1) * batch, batch, settings)


def start_cases(settings: Settings) -> Iterator[Case]:
    """A process that imports, makes the same images and weights, and trains one epoch, with nothing cached."""
    count = 400 if settings.quick else IMAGES

    def start(framework: str, *more: str) -> Run:
        return lambda: in_process(framework, count, *more)

    compiled = {"compiled, fused Adam": start("torch", "compiled")} if "default" in settings.modes else {}
    yield Case(
        label=f"an epoch of {count} images",
        items=1,
        unit="starts",
        jax=start("jax"),
        torch={"eager": start("torch", "eager"), "eager, fused Adam": start("torch", "eager, fused Adam"), **compiled},
        tolerance=ROUGHLY,
        flops=float(_flops(WIDTHS, count)),
        targets={"best": 1.0},
        why="compilation, half of it: a cache (JAX_COMPILATION_CACHE_DIR), which is off here, saves two seconds",
    )


def grey_images(count: int) -> np.ndarray:
    """Images with something to learn, of few numbers each: uint8 (count, 784)."""
    rng = np.random.default_rng(SEED)
    parts, whole = rng.random((count, 8), dtype=np.float32), rng.random((8, 784), dtype=np.float32)
    return np.asarray(parts @ whole * (255 / 8), np.uint8)


def in_process(framework: str, count: int, way: str = "") -> np.ndarray:
    """The mean loss of the epoch that a process of its own trains.

    Raises:
        NoBaselineError: the process failed.
    """
    program = Path(__file__).with_name("autoencoder_start.py")
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    backend = "cpu" if on_cpu() else "cuda"
    done = subprocess.run(
        [sys.executable, str(program), framework, str(count), str(torch.get_num_threads()), backend, way],
        env={**environment, "JAX_PLATFORMS": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise NoBaselineError(f"{framework} failed: {(done.stderr.strip().splitlines() or ['in silence'])[-1]}")
    return np.asarray(float(done.stdout.split()[-1]))


def _epoch(widths: tuple[int, ...], count: int, batch: int, settings: Settings) -> Case:
    grey = grey_images(count)
    images = grey.astype(np.float32) / 255
    state = draw(lambda: Autoencoder(widths))
    params = on_jax.cast(convert(state, "autoencoder"), "f32")
    params = params.get("params", params)
    model = autoencoder(widths)
    there = on_torch.on_device(images)
    module = on_torch.module_with(lambda: Autoencoder(widths), state)

    def loss(params: Any, rows: jax.Array) -> jax.Array:
        return model.reconstruction_error(params, rows).mean()

    def error(module: nn.Module, rows: torch.Tensor) -> torch.Tensor:
        return nn.functional.mse_loss(module(rows), rows)

    def shuffled() -> tuple[torch.Tensor, ...]:
        order = torch.randperm(count, device=there.device)
        return tuple(there[rows] for rows in order.split(batch))

    def objective() -> Objective:
        return Objective(module, error).train()

    def loaded() -> Iterator[torch.Tensor]:
        for pictures, _ in DataLoader(Pictures(grey), batch_size=batch, shuffle=True):
            yield pictures.to(there.device).reshape(batch, -1)

    by_loader = training_runs(
        objective(),
        RATE,
        loaded,
        settings._replace(modes=()),
        restart=True,
        told=torch.mean,
    )
    return Case(
        label=f"batch {batch}",
        items=count,
        unit="images",
        jax=fit_run(
            loss,
            params,
            on_jax.on_device(images),
            RATE,
            settings,
            batch=batch,
            epochs=1,
            shuffle=True,
            told=lambda losses: np.asarray(losses.mean()),
        ),
        torch=training_runs(objective(), RATE, shuffled, settings, restart=True, told=torch.mean),
        others={LOADER: by_loader["eager"]},
        tolerance=ROUGHLY,
        flops=float(_flops(widths, count)),
        least_bytes=float(images.nbytes + 6 * count // batch * size(params)),
        targets={"best": 2.0, LOADER: 4.0} if batch == BATCH else {},
    )


def _flops(widths: tuple[int, ...], count: int) -> int:
    products = sum(a * b for a, b in itertools.pairwise(widths))
    # Forward, and backward twice that, but for the gradient by the images; encoder and decoder.
    return count * (12 * products - 2 * widths[0] * widths[1])


EPOCH = Workload(
    "autoencoder-epoch", "an epoch of the autoencoder by mathdnn_jax.training.fit, data in memory", epoch_cases
)
START = Workload(
    "autoencoder-start", "from the start of a process to the autoencoder's first trained epoch", start_cases
)
