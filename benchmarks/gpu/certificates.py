"""The library's networks on the device in float32, certified layer by layer against PyTorch.

PyTorch runs on the CPU. The rule of `parity` requires that JAX's error is about that of PyTorch, which presumes that
both sum in a similar order. Kernels of a GPU do not: some sum thousands of products one by one, and for 16384 terms
their errors were 6.5 times those of the blocks on a CPU. So on another device a network passes if two conditions hold:
the float64 runs agree, which shows that the formula is right, and no layer's root-mean-square error exceeds
`DEVICE_FACTOR` times PyTorch's, a bound that products in TF32 exceed a hundredfold. `strict` says whether a network
also passes by the rule of `parity`.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import torch

from benchmarks.gpu.failure import as_record
from benchmarks.workloads import nice_model, small_net
from benchmarks.workloads.networks import draw
from parity import certify
from parity.errors import CertificationError
from parity.reference import NICE, VAE, Autoencoder, DCGANGenerator, DenseGenerator, SmallNetTest, SmallNetTrain

EVENTS, FEW = 256, 64
"""With 1024 events, PyTorch's two runs on the CPU took half a minute per network."""
DEVICE_FACTOR = 32.0


class Subject(NamedTuple):
    """A model of `parity.MODELS`, its usual sizes, and tiny ones."""

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
    """Yield ("certificate", …) for each model: whether it passes, its counts of layers and values, its error ratios.

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
        return {"passed": False, **as_record(error)}


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
    """Return whether a network passes by the rule for devices other than PyTorch's."""
    layers = certificate["layers"]
    # All other failures are differences of the float64 runs, or NaN.
    only_float32 = all(failure.startswith("JAX's ") for layer in layers for failure in layer["failures"])
    within = max(ratios.values(), default=math.inf) <= DEVICE_FACTOR
    return bool(certificate["round_trip_bit_exact"] and only_float32 and within)
