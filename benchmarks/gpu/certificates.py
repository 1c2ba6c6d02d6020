"""The library's networks on the device in float32, certified layer by layer against PyTorch.

PyTorch runs on the CPU. By the rule of `parity` JAX's error is to be PyTorch's, which says as much as that both sum in
like order. A GPU's kernels do not: of thousands of products some are summed one by one, and their errors were 6.5 times
those of a CPU's blocks in 16384 terms. So on another device a network passes if the float64 runs agree, which shows
that the formula is right, and if no layer's root-mean-square error is more than `DEVICE_FACTOR` times PyTorch's, which
products in TF32 exceed a hundredfold. Whether it passes by the rule of `parity` too is `strict`.
"""

from __future__ import annotations

import math
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import torch

from benchmarks.workloads import nice_model, small_net
from benchmarks.workloads.networks import draw
from parity import certify
from parity.errors import CertificationError
from parity.reference import NICE, VAE, Autoencoder, DCGANGenerator, DenseGenerator, SmallNetTest, SmallNetTrain

EVENTS, FEW = 256, 64
"""Of 1024, PyTorch's two runs on the CPU took half a minute for each network."""
DEVICE_FACTOR = 32.0


class Subject(NamedTuple):
    """A model of `parity.MODELS`, with its usual sizes and with tiny ones."""

    model: str
    build: Callable[..., torch.nn.Module]
    sizes: dict[str, Any]
    tiny: dict[str, Any]


SUBJECTS = (
    Subject("nice", NICE, nice_model.SIZES, nice_model.QUICK),
    Subject("small-net", SmallNetTrain, small_net.FULL, small_net.QUICK),
    Subject("small-net-folded", SmallNetTest, small_net.FULL, small_net.QUICK),
    Subject("autoencoder", Autoencoder, {}, {"widths": (12, 8, 4)}),
    Subject("vae", VAE, {"dim": 784, "hidden": 400, "latent_dim": 20}, {"dim": 12, "hidden": 8, "latent_dim": 3}),
    Subject("gan-generator", DenseGenerator, {"latent_dim": 64, "hidden": (256, 512), "size": 784},
            {"latent_dim": 3, "hidden": (8, 16), "size": 12}),
    Subject("dcgan-generator", DCGANGenerator, {"width": 64}, {"width": 2}),
)  # fmt: skip


def certificates(rehearsal: bool, subjects: tuple[Subject, ...] = SUBJECTS) -> Iterator[tuple[str, Any]]:
    """Yield ("certificate", …) for each model: whether it passes, on how many layers and numbers, and how closely.

    The weights are random and the networks in eval mode.
    """
    for subject in subjects[:2] if rehearsal else subjects:
        began = time.monotonic()
        found = _certified(subject, rehearsal)
        yield "certificate", {"model": subject.model, **found, "seconds": time.monotonic() - began}


def _certified(subject: Subject, rehearsal: bool) -> dict[str, Any]:
    config = subject.tiny if rehearsal else subject.sizes
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"{subject.model}.pt")
            state = draw(lambda: subject.build(**config))
            torch.save({name: torch.from_numpy(array) for name, array in state.items()}, path)
            try:
                certificate = certify(
                    path, subject.model, output=Path(folder, "certificate.json"), events=FEW if rehearsal else EVENTS
                )
            except CertificationError as departs:
                return {**_summary(departs.certificate), "failure": str(departs).splitlines()[0]}
            return {**_summary(certificate), "failure": None}
    except Exception as error:
        return {"passed": False, "error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}


def _summary(certificate: Mapping[str, Any]) -> dict[str, Any]:
    layers = certificate["layers"]
    ratios = {
        layer["layer"]: layer["jax_float32_error"]["rms"] / layer["torch_float32_error"]["rms"]
        for layer in layers
        if layer["torch_float32_error"]["rms"] > 0
    }
    worst = max(ratios, key=ratios.__getitem__, default=None)
    strict = certificate["passed"]
    return {
        "passed": strict or (jax.default_backend() != "cpu" and _on_a_device(certificate, ratios)),
        "strict": strict,
        "layers": len(layers),
        "values": sum(layer["values"] for layer in layers),
        "parameters": certificate["checkpoint"]["parameters"],
        "worst": None if worst is None else {"layer": worst, "rms_over_torch": ratios[worst]},
        "rms_over_torch": ratios,
        "departing": [layer["layer"] for layer in layers if not layer["passed"]],
    }


def _on_a_device(certificate: Mapping[str, Any], ratios: Mapping[str, float]) -> bool:
    """Return whether a network passes by the rule for other devices than PyTorch's."""
    layers = certificate["layers"]
    # The other failures are that the float64 runs differ, and NaN.
    only_float32 = all(failure.startswith("JAX's ") for layer in layers for failure in layer["failures"])
    within = max(ratios.values(), default=math.inf) <= DEVICE_FACTOR
    return bool(certificate["round_trip_bit_exact"] and only_float32 and within)
