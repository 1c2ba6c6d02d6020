"""The targets on a GPU, by workload and case."""

from __future__ import annotations

from typing import NamedTuple


class Target(NamedTuple):
    """The target of one case against one contender."""

    workload: str
    case: str
    against: str
    """A contender of the case, or "limit" for the measured ceiling."""
    aim: float
    """The smallest median ratio of the contender's time to JAX's, or the smallest share of the ceiling."""
    said: str
    """The work, in words."""


TARGETS = (
    Target("nice-log-prob", "batch 8192", "limit", 0.7, "NICE log p, batch 8192"),
    Target("nice-log-prob", "batch 8192", "compiled, max-autotune", 1.0, "NICE log p, batch 8192"),
    Target("nice-epoch", "batch 128", "CUDA graphs, fused Adam", 1.3, "NICE training, batch 128"),
    Target("nice-epoch", "batch 128", "eager", 3.0, "NICE training, batch 128"),
    Target("autoencoder-epoch", "batch 100", "eager", 10.0, "an epoch of the autoencoder"),
    Target("flow-1d", "10 epochs, in order", "eager", 10.0, "epochs of the 1-D flow"),
    Target("flow-1d", "10 epochs, shuffled", "eager", 10.0, "epochs of the 1-D flow, shuffled"),
    Target("vae-step", "batch 128", "eager", 10.0, "an epoch of the VAE"),
    Target("gan-step", "batch 128", "eager", 10.0, "an epoch of the GAN"),
    Target("small-net-folded", "batch 100", "compiled", 1.0, "smallNet folded, batch 100"),
    Target("small-net-folded", "batch 1000", "compiled", 1.0, "smallNet folded, batch 1000"),
    Target("inpainting", "256 images, 30 steps", "one by one, eager", 50.0, "inpainting 256 images"),
)
"""All targets are in float32. Under `torch.compile`, a convolutional network gets its images channels last."""


def aims(workload: str, case: str, precision: str) -> dict[str, float]:
    """Return the aims of a case by contender; only float32 has any."""
    found = [target for target in TARGETS if (target.workload, target.case) == (workload, case)]
    return {target.against: target.aim for target in found} if precision == "f32" else {}
