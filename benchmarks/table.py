"""The figures of a run for a person, as plain text."""

from __future__ import annotations

from typing import Any

from benchmarks.compare import DISTURBED

NAMES = {"jax": "JAX", "torch": "PyTorch"}


def nice_table(figures: dict[str, Any]) -> str:
    """The figures of `benchmarks.nice.measure`: a row per batch size and framework, then what they rest on."""
    sizes = ", ".join(f"{name} {value}" for name, value in figures["config"].items())
    images, matmul = figures["images"], figures["matmul"]
    lines = [
        f"NICE log p of {images:,} images, float32 ({sizes}; weights: {figures['weights']})",
        f"{figures['repeat']} interleaved pairs; median [least - greatest]",
        "",
        f"{'batch':>7}  {'':<8}{f's per {images:,} images':>25}{'images/s':>11}{'first call':>12}"
        f"{'of matmul':>11}{'largest error':>15}  PyTorch/JAX",
    ]
    for result in figures["batches"]:
        ratio = result["torch_over_jax"]
        for name, title in NAMES.items():
            side = result[name]
            seconds = f"{side['median_s']:.3g} [{side['least_s']:.3g} - {side['greatest_s']:.3g}]"
            row = (
                f"{result['batch'] if name == 'jax' else '':>7}  {title:<8}{seconds:>25}"
                f"{side['items_per_s']:>11,.0f}{side['first_call_s']:>10.3g} s{side['matmul_share']:>11.0%}"
                f"{side['greatest_error']:>15.2g}"
            )
            if name == "jax":
                row += f"  {ratio['median']:.2f} [{ratio['least']:.2f} - {ratio['greatest']:.2f}]"
            lines.append(row)
    rates = ", ".join(f"{title} {matmul['flops_per_s'][name] / 1e9:,.0f}" for name, title in NAMES.items())
    disturbed = [f"{result['batch']:,}" for result in figures["batches"] if result["disturbed"]]
    if disturbed:
        lines.append(
            f"\nDISTURBED: the times with batch {', '.join(disturbed)} spread more than {DISTURBED:g} x, so something "
            "else ran;\nrepeat on a quiet machine before believing the ratio"
        )
    return "\n".join(
        [
            *lines,
            "",
            f"matmul     {rates} GFLOP/s, best of float32 products {matmul['size']} x {matmul['size']}; "
            f"the network has {figures['flops_per_image'] / 1e6:,.3g} MFLOP per image",
            f"errors     in nats; {figures['agreement']}",
            *_circumstances(figures),
        ]
    )


def training_table(figures: list[dict[str, Any]]) -> str:
    """The figures of `benchmarks.training.measure`, a row for each workload and batch size."""
    names = {"fit": "fit", "loop": "a jitted step", "torch": "PyTorch"}
    lines = [
        "Adam steps per second, float32, and how many times as long the others took as fit: median [least - greatest]",
        f"{'workload':<12}{'batch':>6}" + "".join(f"{title:>15}" for title in names.values())
        + f"{'step/fit':>22}{'PyTorch/fit':>22}{'first fit':>12}",
    ]  # fmt: skip
    for result in figures:
        row = f"{result['workload']:<12}{result['batch']:>6}"
        row += "".join(f"{result['steps_per_s'][name]:>15,.1f}" for name in names)
        for name in ("loop_over_fit", "torch_over_fit"):
            ratio = result[name]
            row += f"{ratio['median']:>8.2f} [{ratio['least']:.2f} - {ratio['greatest']:.2f}]".rjust(22)
        lines.append(row + f"{result['first_call_s']['fit']:>10.3g} s")
        for count, seconds in result["devices"].items():
            rate = result["steps"] / sorted(seconds)[len(seconds) // 2]
            lines.append(f"{'':<12}{'':>6}{rate:>15,.1f}  on {count} virtual devices of the same processor")
    machine = figures[0]["machine"]
    return "\n".join(
        [*lines, f"{machine['cpu']}, {machine['cores']} cores, {machine['backend']}; {machine['measured']}"]
    )


def _circumstances(figures: dict[str, Any]) -> list[str]:
    machine, torch, precision = figures["machine"], figures["torch"], figures["precision"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    settings = ", ".join(f"{name}={value}" for name, value in machine["environment"].items())
    return [
        f"machine    {machine['cpu']}, {machine['cores']} cores, {machine['os']}",
        f"JAX        {machine['backend']} ({machine['device']}), jit, matmul precision {precision['jax_matmul']}",
        f"PyTorch    {torch['device']}, {torch['threads']} threads, eager, eval, inference mode, "
        f"matmul precision {precision['torch_matmul']}",
        f"versions   {versions}",
        f"settings   {settings or 'none of the environment variables that move the figures is set'}",
        f"measured   {machine['measured']}",
    ]
