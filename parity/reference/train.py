"""Training a small PyTorch twin, to have a real checkpoint to convert."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from parity.reference.nice import NICE


def train_nice(
    images: np.ndarray,
    *,
    levels: int,
    width: int = 64,
    depth: int = 3,
    couplings: int = 4,
    epochs: int = 150,
    batch_size: int = 100,
    learning_rate: float = 5e-3,
    seed: int = 0,
    on_epoch: Callable[[int], object] | None = None,
) -> NICE:
    """Fit a NICE with Adam to images (N, H, W) on [0, 1] that take `levels` equidistant values.

    Each batch is dequantised anew, x ← (x (levels − 1) + u) / levels with u uniform on [0, 1), since a density on
    discrete images would grow without bound. The loss is −mean log p, in nats.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]), _one_thread():
        torch.manual_seed(seed)
        model = NICE(int(np.prod(images.shape[1:])), width, depth, couplings)
        events = torch.from_numpy(np.array(images, dtype=np.float32)).flatten(1)
        optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
        for _ in range(epochs):
            for batch in torch.randperm(len(events), generator=generator).split(batch_size):
                noise = torch.rand(events[batch].shape, generator=generator)
                loss = -model.log_prob((events[batch] * (levels - 1) + noise) / levels).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            schedule.step()
            if on_epoch is not None:
                on_epoch(1)
    return model


@contextmanager
def _one_thread() -> Iterator[None]:
    # Steps this small gain nothing from threads, and on a busy machine, threads that wait for each other by spinning
    # make them a hundred times slower.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
