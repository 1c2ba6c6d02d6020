"""The autoencoder: an epoch of its training in memory, and everything from the start of a process to that."""

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
import optax
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.case import Case, Contender, Settings, Workload
from benchmarks.errors import NoBaselineError
from benchmarks.frameworks import on_jax, on_torch
from benchmarks.frameworks.train_jax import fit_contender
from benchmarks.frameworks.train_torch import Objective, training_baselines
from benchmarks.workloads.autoencoder_start import BATCH, RATE, WIDTHS, grey_images, images
from benchmarks.workloads.networks import draw, on_cpu, size
from benchmarks.workloads.training import Training
from mathdnn_jax.data.torchvision_import import import_torchvision_datasets
from mathdnn_jax.generative import autoencoder
from parity import convert
from parity.reference import Autoencoder

REPOSITORY = Path(__file__).resolve().parents[2]
QUICK = (784, 8, 4)
IMAGES = 50_000
ROUGHLY = 0.05
"""How far the mean losses of an epoch may differ, relatively: each contender draws its own order of the images."""
LOADER = "the course's DataLoader, eager"


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """Images that are pictures with labels until they are read one by one, like those of torchvision's MNIST."""

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


def training(widths: tuple[int, ...] = WIDTHS) -> Training:
    """Return the autoencoder (course 002, P1), trained on the mean squared error."""
    state = draw(lambda: Autoencoder(widths))
    params = on_jax.cast(convert(state, "autoencoder"), "f32")
    model = autoencoder(widths)

    def loss(params: Any, rows: jax.Array, key: jax.Array) -> jax.Array:
        del key
        return model.reconstruction_error(params, rows).mean()

    def error(module: nn.Module, rows: torch.Tensor) -> torch.Tensor:
        return nn.functional.mse_loss(module(rows), rows)

    module = on_torch.module_with(lambda: Autoencoder(widths), state)
    return Training(params.get("params", params), loss, Objective(module, error).train(), images)


def epoch_cases(settings: Settings) -> Iterator[Case]:
    """An epoch of `fit`, shuffled, from the same weights each time; the data in memory as float32."""
    widths, count = (QUICK, 400) if settings.quick else (WIDTHS, IMAGES)
    for batch in settings.batches or (BATCH,):
        yield _epoch(widths, max(count // batch, 1) * batch, batch, settings)


def start_cases(settings: Settings) -> Iterator[Case]:
    """A process that imports, makes the same images and weights, and trains one epoch, with nothing cached."""
    count = 400 if settings.quick else IMAGES

    def start(framework: str, *way: str) -> Contender:
        return lambda: in_process(framework, count, *way)

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
        why="half of it is compilation; a cache (JAX_COMPILATION_CACHE_DIR), which is off here, saves two seconds",
    )


def in_process(framework: str, count: int, way: str = "") -> np.ndarray:
    """Train one epoch in a new process, and return its mean loss.

    Raises:
        NoBaselineError: the process failed.
    """
    program = Path(__file__).with_name("autoencoder_start.py")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    backend = "cpu" if on_cpu() else "cuda"
    done = subprocess.run(
        [sys.executable, str(program), framework, str(count), str(on_torch.threads()), backend, way],
        env={**environment, "JAX_PLATFORMS": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise NoBaselineError(f"{framework} failed: {(done.stderr.strip().splitlines() or ['no error message'])[-1]}")
    return np.asarray(float(done.stdout.split()[-1]))


def _epoch(widths: tuple[int, ...], count: int, batch: int, settings: Settings) -> Case:
    params, loss, objective, draw_images = training(widths)
    grey, data = grey_images(count), draw_images(count)
    there = on_torch.on_device(data)

    def shuffled() -> tuple[torch.Tensor, ...]:
        order = torch.randperm(count, device=there.device)
        return tuple(there[rows] for rows in order.split(batch))

    def loaded() -> Iterator[torch.Tensor]:
        for pictures, _ in DataLoader(Pictures(grey), batch_size=batch, shuffle=True):
            yield pictures.to(there.device).reshape(batch, -1)

    eager = settings._replace(modes=())
    by_loader = training_baselines(objective, RATE, loaded, eager, restart=True, read=torch.mean)
    return Case(
        label=f"batch {batch}",
        items=count,
        unit="images",
        jax=fit_contender(
            loss,
            params,
            on_jax.on_device(data),
            optax.adam(RATE),
            settings,
            batch=batch,
            shuffle=True,
            read=lambda losses: np.asarray(losses.mean()),
        ),
        torch=training_baselines(objective, RATE, shuffled, settings, restart=True, read=torch.mean),
        others={LOADER: by_loader["eager"]},
        tolerance=ROUGHLY,
        flops=float(_flops(widths, count)),
        least_bytes=float(data.nbytes + 6 * count // batch * size(params)),
        targets={"best": 2.0, LOADER: 4.0} if batch == BATCH else {},
    )


def _flops(widths: tuple[int, ...], count: int) -> int:
    products = sum(a * b for a, b in itertools.pairwise(widths))
    # Of encoder and decoder: forward, and twice that backward, less the gradient with respect to the images.
    return count * (12 * products - 2 * widths[0] * widths[1])


EPOCH = Workload(
    "autoencoder-epoch", "an epoch of the autoencoder by mathdnn_jax.training.fit, data in memory", epoch_cases
)
START = Workload(
    "autoencoder-start", "from the start of a process to the autoencoder's first trained epoch", start_cases
)
