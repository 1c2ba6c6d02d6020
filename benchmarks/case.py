"""The vocabulary of the benchmarks: a workload has cases, and a case has contenders that do the same work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from mathdnn_jax.errors import ConfigurationError

Contender = Callable[[], Any]
"""Does the whole work once and returns its result, an array or a tuple of arrays, as soon as it is computed."""

COMPARED_STEPS = 3
"""Number of initial steps whose losses are compared: the later losses of two correct float32 programs drift apart."""


class Settings(NamedTuple):
    """The settings of a workload, as given on the command line."""

    batches: tuple[int, ...] | None = None
    """Batch sizes to use instead of the workload's own."""
    quick: bool = False
    """Whether to prepare one small case of each kind, for tests and for a first look."""
    modes: tuple[str, ...] = ("default",)
    """The modes of `torch.compile`, out of `cuda.MODES`, to include among PyTorch's baselines. Each takes up to a
    minute per network, and those that capture CUDA graphs need a GPU."""
    precision: str = "f32"
    """With "bf16", a workload that supports it casts its parameters and inputs in both frameworks. Arrays are float32
    with "f32" and with "tf32", which differ in the precision of matrix products and convolutions alone."""
    checkpoint: str | None = None
    """A file of weights for the NICE workloads; all other workloads draw their weights."""
    stand_in: bool = False
    """Whether stand-ins replace what exists only on a GPU: CUDA graphs and the modes of `torch.compile`. A stand-in
    computes the same along the same path, so a dry run on a CPU can test it; its times are meaningless."""


def check_least_batch(settings: Settings, least: int, why: str) -> None:
    """Check that all requested batches have at least `least` items, which a workload needs for the reason `why`.

    Raises:
        ConfigurationError: a batch has fewer.
    """
    if wrong := [batch for batch in settings.batches or () if batch < least]:
        raise ConfigurationError(
            f"given {', '.join(map(str, wrong))}, expected batches of at least {least} items: {why}"
        )


class Portion(NamedTuple):
    """The part of the work that a slow contender does in one run, where the whole work repeats that part."""

    times: int
    """Number of such parts in the whole work."""
    results: Callable[[tuple[np.ndarray, ...]], tuple[np.ndarray, ...]]
    """Selects the results of this part from those of the whole work, for comparison with the contender's own."""


class Case(NamedTuple):
    """One piece of work, prepared: weights and data are on the device, and nothing has been timed yet."""

    label: str
    """Distinguishes the case from the other cases of its workload: "batch 1000"."""
    items: int
    """Number of items that one run of `jax` produces or reads; `unit` names them, such as "images" or "steps"."""
    unit: str
    jax: Contender
    torch: Mapping[str, Contender]
    """PyTorch's baselines by name: "eager", "inference mode", "compiled", …; JAX is compared with the fastest."""
    others: Mapping[str, Contender] = {}
    """Other contenders that are timed alongside: "one by one", "Python loop", another library."""
    truth: Callable[[], np.ndarray | tuple[np.ndarray, ...]] | None = None
    """The results in float64. If given, the contenders' errors against them are compared (`agreement.RULE`)."""
    tolerance: float | None = None
    """Without a truth, the greatest difference allowed, relative to the greatest entry. If both are None, only the
    shapes are compared, as random results allow nothing more."""
    flops: float | None = None
    """Least floating-point operations of one run, counting matrix products and convolutions only."""
    least_bytes: float | None = None
    """Bytes that one run must move: each weight and each input read once, each result written once."""
    limit: str = "matmul"
    """The measured limit that `flops` are compared with: "matmul" or "convolution"; "memory" if only bytes count."""
    targets: Mapping[str, float] = {}
    """The smallest median ratio aimed for on a CPU, by contender. "best" stands for the fastest of `torch`, and
    "limit" for a share of the measured limit. `benchmarks.workloads.gpu_targets` has the targets on a GPU."""
    why: str = ""
    """The reason given in a row that misses a target, or is slower than PyTorch's best, on a CPU."""
    lowered: Callable[[], Any] | None = None
    """Returns the lowered JAX program, `jax.jit(f).lower(…)`, from which XLA counts operations and bytes."""
    unable: Mapping[str, str] = {}
    """Contenders that cannot run here, each with its reason, such as a library that is not installed."""
    portions: Mapping[str, Portion] = {}
    """For contenders that do only part of the work in one run, that part; their times are scaled to the whole."""


class Workload(NamedTuple):
    """A name, a one-line summary, and the function that prepares the cases one after another."""

    name: str
    summary: str
    cases: Callable[[Settings], Iterator[Case]]
    precisions: tuple[str, ...] = ("f32", "tf32")
    """The precisions that the workload supports; with "bf16" it casts its arrays."""
