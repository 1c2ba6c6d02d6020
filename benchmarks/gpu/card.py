"""A description of the card, the driver and the settings of both frameworks."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any

import jax
import torch

from benchmarks.frameworks import on_jax, on_torch
from benchmarks.frameworks.precision import DEFINITIONS
from benchmarks.harness.agreement import RULE
from benchmarks.harness.machine import describe_machine

ASKED = ("name", "driver_version", "memory.total", "power.limit", "clocks.max.sm", "clocks.max.mem", "compute_cap")


def describe() -> dict[str, Any]:
    """Return card, driver, versions, precisions and settings of both frameworks, in the results file's format."""
    on_cuda = on_torch.device().type == "cuda"
    return {
        "machine": describe_machine(),
        "card": card(),
        "threads": {"jax": on_jax.threads(), "torch": on_torch.threads()},
        "precisions": DEFINITIONS,
        "agreement": RULE,
        "torch": {
            "device": on_torch.device_name(),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version() if on_cuda else None,
            "cudnn_benchmark": True,
        },
        "jax": {
            "device": str(jax.devices()[0]),
            "platform_version": jax.devices()[0].client.platform_version,
            "memory": jax.devices()[0].memory_stats(),
            "compilation_cache": "a folder of this run alone" if jax.config.jax_compilation_cache_dir else None,  # type: ignore[attr-defined]
        },
    }


def card() -> dict[str, str] | None:
    """Return what nvidia-smi reports about the first card, without changing anything; None if it does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    question = [program, f"--query-gpu={','.join(ASKED)}", "--format=csv,noheader", "--id=0"]
    try:
        done = subprocess.run(question, capture_output=True, text=True, check=False, timeout=10, env=dict(os.environ))
    except (OSError, subprocess.TimeoutExpired):
        return None
    answers = [answer.strip() for answer in done.stdout.strip().split(",")]
    return dict(zip(ASKED, answers, strict=True)) if done.returncode == 0 and len(answers) == len(ASKED) else None
