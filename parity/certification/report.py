"""A pair's certificate as a table of plain text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def describe_pair(certificate: Mapping[str, Any]) -> str:
    """One line for each layer and gradient; errors are against PyTorch in float64."""
    entries = [(entry["layer"], entry) for entry in certificate["layers"]]
    entries += [(f"gradient of {entry['layer']}", entry) for entry in certificate["gradients"]]
    width = max(len(name) for name, _ in entries) + 2
    lines = [f"{'layer':<{width}}{'JAX rms':>10}{'PyTorch rms':>13}{'ratio':>7}{'JAX-PyTorch':>13}{'in float64':>12}"]
    for name, entry in entries:
        jax_rms, torch_rms = (entry[f"{side}_float32_error"]["rms"] for side in ("jax", "torch"))
        ratio = f"{jax_rms / torch_rms:.2f}" if torch_rms else "-"
        difference = entry["jax_to_torch_float32"]["absolute"]["greatest"]
        lines.append(
            f"{name:<{width}}{jax_rms:>10.2e}{torch_rms:>13.2e}{ratio:>7}{difference:>13.2e}"
            f"{entry['jax_to_torch_float64']:>12.1e}  {'passed' if entry['passed'] else 'FAILED'}"
        )
    weights = certificate["weights"]
    lines.append(
        f"{weights['leaves'] - len(weights['differing'])} of {weights['leaves']} weights are the rules', bit for bit"
    )
    if certificate["unwatched"]:
        lines.append(f"not watched one by one: {', '.join(certificate['unwatched'])}")
    verdict = "passed" if certificate["passed"] else "FAILED"
    lines.append(
        f"{verdict}: {certificate['model']}, {certificate['parameters']:,} parameters, "
        f"{sum(entry['passed'] for _, entry in entries)} of {len(entries)} comparisons within the rule on "
        f"{certificate['inputs']['events']:,} events"
    )
    return "\n".join(lines)
