"""What a workload is: the same work in both frameworks, with what it costs at the least and what is aimed at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

Run = Callable[[], Any]
"""Does the whole work once and returns its result, an array or a tuple of arrays, when it is there."""


class Settings(NamedTuple):
    """What the command line asks of a workload."""

    batches: tuple[int, ...] | None = None
    """Instead of the workload's own batch sizes."""
    quick: bool = False
    """A small case of each kind, for tests and for a first look."""
    modes: tuple[str, ...] = ("default",)
    """The modes of `torch.compile` that are among PyTorch's baselines, of `on_torch.MODES`; each takes up to a minute
    for each network, and those that capture CUDA graphs need a GPU."""
    precision: str = "f32"
    """With "bf16" a workload that can be run so casts its parameters and inputs, in both frameworks. "f32" and "tf32"
    are float32 arrays, and which products are made of them is set around it."""
    checkpoint: str | None = None
    """A file of weights for the workloads of NICE; others draw theirs."""
    stand_in: bool = False
    """On a processor, whether stand-ins take the place of what only a GPU has: CUDA graphs, and the modes of
    `torch.compile`. They compute the same by the same paths, so that a dry run can test those; their times say nothing.
    """


class Portion(NamedTuple):
    """The part of a case's work that a slow contender does in one run, where all of it is the same part repeated."""

    times: int
    """How many such parts the whole work has."""
    results: Callable[[tuple[np.ndarray, ...]], tuple[np.ndarray, ...]]
    """What this part makes, out of the results of the whole: what the contender's own are compared with."""


class Case(NamedTuple):
    """One piece of work, prepared: weights and data are on the device, nothing is timed yet."""

    label: str
    """What tells it from the workload's other cases: "batch 1000"."""
    items: int
    """How many things `jax` makes or reads in one run; `unit` is what they are, "images" or "steps"."""
    unit: str
    jax: Run
    torch: Mapping[str, Run]
    """PyTorch's ways to do the same, by name: "eager", "inference mode", "compiled", …; the best is the one to beat."""
    others: Mapping[str, Run] = {}
    """Other ways that are timed beside it: "one by one", "Python loop", a peer library."""
    truth: Callable[[], np.ndarray | tuple[np.ndarray, ...]] | None = None
    """The float64 values of the results; then errors against them are compared (`agreement.RULE`)."""
    tolerance: float | None = None
    """Where there is no truth: the greatest difference allowed, relative to the greatest entry. None with no truth
    means results that are random by nature; only their shapes are compared."""
    flops: float | None = None
    """The least floating-point operations of one run: products and sums of matrices and convolutions alone."""
    least_bytes: float | None = None
    """What one run must move at the least: each weight and each input read once, each result written once."""
    limit: str = "matmul"
    """The measured limit that `flops` are held against: "matmul" or "convolution"; "memory" for `least_bytes`."""
    targets: Mapping[str, float] = {}
    """The least median ratio aimed at on a CPU, by contender: "best" is the best of `torch`, and "limit" the least
    share of the measured limit. Those on a GPU are in `benchmarks.gpu.targets`."""
    why: str = ""
    """Said beside a row that misses a target or is slower than PyTorch's best on a CPU."""
    lowered: Callable[[], Any] | None = None
    """The JAX program, `jax.jit(f).lower(…)`, for XLA's own count of operations and bytes."""
    unable: Mapping[str, str] = {}
    """Contenders that cannot run here, each with the reason: a peer that is not installed."""
    portions: Mapping[str, Portion] = {}
    """Of contenders that do only a part of the work in one run, which part; their seconds are scaled to the whole."""


class Workload(NamedTuple):
    """A name, what is done in a sentence, and the function that prepares the cases one after the other."""

    name: str
    summary: str
    cases: Callable[[Settings], Iterator[Case]]
    precisions: tuple[str, ...] = ("f32", "tf32")
    """Those that it can be run in; "bf16" where it casts its arrays."""
