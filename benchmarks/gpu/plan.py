"""The steps of a run on a GPU, in order of their value, and the time that each may take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from benchmarks.errors import PlanError

Kind = Literal["ceilings", "certificates", "identities", "claims", "rows", "profiles"]


class Step(NamedTuple):
    """One step of a run."""

    id: str
    kind: Kind
    why: str
    """What the step finds out."""
    least_s: float = 10.0
    """The step is not begun with fewer seconds left than this."""
    most_s: float = 60.0
    """The step is stopped after this many seconds, so that a step that hangs does not cost the others their time."""
    workload: str = ""
    precision: str = "f32"
    batches: tuple[int, ...] | None = None
    """Batch sizes to use instead of the workload's own."""
    cases: tuple[str, ...] = ()
    """Labels of the cases to measure, which must all exist; if empty, every case is measured."""
    modes: tuple[str, ...] = ()
    """Modes of `torch.compile` to time beside PyTorch eager, fused Adam and CUDA graphs."""
    environment: Mapping[str, str] = {}
    """Environment variables, for which a new process is started. With `XLA_FLAGS` among them, only JAX is measured."""


def _rows(id: str, why: str, **more: Any) -> Step:  # noqa: A002
    return Step(id, "rows", why, **{"workload": id, **more})


def _tuned(workload: str, more_of_id: str = "", **more: Any) -> Step:
    """Repeat a row beside the slow modes of `torch.compile`; the result is merged with the existing row."""
    why = "beside the slower modes of torch.compile"
    return _rows(f"{workload}-tuned{more_of_id}", why, workload=workload, modes=_SLOWER, most_s=240, **more)


def _flags(name: str, why: str, flags: str) -> Step:
    """Repeat the row with the most dispatches, under flags of XLA."""
    return _rows(f"flags-{name}", why, workload="nice-epoch", batches=(128,), environment={"XLA_FLAGS": flags})


_COMPILED, _SLOWER = ("default",), ("max-autotune", "reduce-overhead")
_GRAPHS = "--xla_gpu_enable_command_buffer"
_EVERYTHING = "FUSION,CUBLAS,CUBLASLT,CUDNN,CUSTOM_CALL,WHILE,CONDITIONAL"
# Profiling gets a process of its own, since a profiler may slow down whatever runs after it. JAX uses no CUDA graphs
# in it, as the profiler shows a graph as one operation called command_buffer_, without its kernels.
_WATCHED = {"TEARDOWN_CUPTI": "1", "XLA_FLAGS": f"{_GRAPHS}="}

PLAN: tuple[Step, ...] = (
    Step("ceilings", "ceilings", "what the card reaches in a product, a convolution and a copy", 15, 60),
    Step("certificates", "certificates", "the models in float32 are PyTorch's, layer by layer", 20, 60),
    Step("identities", "identities", "inverse, log-determinant and gradient in every precision", 20, 45),
    # Rows with a target.
    _rows("nice-epoch-128", "training", workload="nice-epoch", batches=(128,), modes=_COMPILED, most_s=90),
    _rows("nice-log-prob-8192", "log p", workload="nice-log-prob", batches=(8192,), modes=_COMPILED, most_s=60),
    _rows("autoencoder-epoch", "a whole epoch beside an eager loop"),
    _rows("vae-step", "a whole epoch beside an eager loop"),
    _rows("gan-step", "two players in one program beside an eager loop"),
    _rows("flow-1d", "many tiny steps beside an eager loop"),
    _rows("inpainting", "many images at once", cases=("256 images, 30 steps",), most_s=75),
    _rows("small-net-folded", "inference without batch norms", batches=(100, 1000), modes=_COMPILED, most_s=120),
    Step("claims", "claims", "the mathematical statements on this device, as many as there is time for", 10, 30),
    Step("profiles", "profiles", "where the time of what fell short goes", 25, 60, environment=_WATCHED),
    # This contender has a target too, but takes a minute or two to compile: a run that is cut has all others by now.
    _tuned("nice-log-prob", batches=(8192,), least_s=100),
    # Other sizes and precisions.
    _rows("nice-log-prob", "smaller batches", batches=(128, 1024), modes=_COMPILED),
    _rows("nice-epoch", "larger batches", batches=(1024, 8192), modes=_COMPILED),
    _rows("nice-epoch-tf32", "in TF32", workload="nice-epoch", batches=(128, 8192), precision="tf32"),
    _rows("nice-log-prob-tf32", "in TF32", workload="nice-log-prob", batches=(8192,), precision="tf32"),
    _rows("nice-log-prob-bf16", "in bfloat16", workload="nice-log-prob", batches=(8192,), precision="bf16"),
    _rows("nice-epoch-bf16", "in bfloat16", workload="nice-epoch", batches=(8192,), precision="bf16"),
    # Other models.
    _rows("small-net-step", "training of a convolutional network", modes=_COMPILED, most_s=120),
    _rows("small-net", "inference with batch norms", batches=(100, 1000)),
    _rows("real-nvp-step", "training of an image flow", most_s=120),
    _rows("glow-step", "training of an image flow", most_s=120),
    _rows("real-nvp-sample", "sampling of an image flow"),
    _rows("glow-sample", "sampling of an image flow"),
    _rows("nice-sample", "sampling", batches=(8192,)),
    # PyTorch's slower compilations.
    _tuned("nice-epoch", batches=(128,), least_s=100),
    _tuned("nice-log-prob", "-tf32", batches=(8192,), precision="tf32", least_s=100),
    _tuned("nice-log-prob", "-small", batches=(128, 1024), least_s=100),
    _rows("vae-step-compiled", "beside torch.compile", workload="vae-step", modes=_COMPILED, least_s=20),
    _rows("autoencoder-epoch-compiled", "beside torch.compile", workload="autoencoder-epoch", modes=_COMPILED),
    _rows("flow-peers", "the same couplings by other libraries"),
    _rows("inpainting-long", "many steps", workload="inpainting", cases=("256 images, 300 steps",)),
    # The value of XLA's own choices.
    _flags("no-graphs", "without CUDA graphs", f"{_GRAPHS}="),
    _flags("graphs-of-loops", "a whole loop in one CUDA graph", f"{_GRAPHS}={_EVERYTHING}"),
    _flags("cublas", "cuBLAS alone, no products of XLA's own", "--xla_gpu_enable_triton_gemm=false"),
)
"""Ordered by value per minute: ceilings and parity, rows with targets, the causes of missed targets, the rest."""


def chosen(ids: Sequence[str] = ()) -> tuple[Step, ...]:
    """Return the steps with these ids in the order of the plan, or all steps if none is named.

    Raises:
        PlanError: the plan has no step with one of these ids.
    """
    known = [step.id for step in PLAN]
    if unknown := [name for name in ids if name not in known]:
        raise PlanError(f"there is no step {', '.join(unknown)}; choose from {', '.join(known)}")
    return tuple(step for step in PLAN if not ids or step.id in ids)


def rehearsed(step: Step) -> Step:
    """Return the step as a dry run does it on a CPU: with tiny cases, and without flags that only a GPU has."""
    environment = {"XLA_FLAGS": "--xla_cpu_enable_fast_math=false"} if "XLA_FLAGS" in step.environment else {}
    batches = (4,) if step.batches else None
    return step._replace(least_s=0.0, most_s=120.0, batches=batches, cases=(), environment=environment)
