"""A certificate as a table of plain text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from parity.certification.certificate import blamed


def describe(certificate: Mapping[str, Any]) -> str:
    """Return one line for each layer and gradient, then a summary; errors are relative to PyTorch in float64.

    Of what layers read, only what fails is shown.
    """
    judged = [(entry["layer"], entry) for entry in certificate["layers"]]
    judged += [(f"input of {e['layer']}", e) for e in certificate.get("layer_inputs", []) if not e["passed"]]
    judged += [(f"gradient of {entry['layer']}", entry) for entry in certificate.get("gradients", [])]
    width = max(len(name) for name, _ in judged) + 2
    lines = [f"{'layer':<{width}}{'JAX rms':>10}{'PyTorch rms':>13}{'ratio':>7}{'JAX-PyTorch':>13}{'in float64':>12}"]
    for name, entry in judged:
        jax_rms, torch_rms = (entry[f"{side}_float32_error"]["rms"] for side in ("jax", "torch"))
        ratio = f"{jax_rms / torch_rms:.2f}" if torch_rms else "-"
        difference = entry["jax_to_torch_float32"]["absolute"]["greatest"]
        lines.append(
            f"{name:<{width}}{jax_rms:>10.2e}{torch_rms:>13.2e}{ratio:>7}{difference:>13.2e}"
            f"{entry['jax_to_torch_float64']:>12.1e}  {'passed' if entry['passed'] else 'FAILED'}"
        )
    return "\n".join([*lines, *(_of_checkpoint if "checkpoint" in certificate else _of_modules)(certificate)])


def _of_checkpoint(certificate: Mapping[str, Any]) -> list[str]:
    checkpoint = certificate["checkpoint"]
    exact = "back bit for bit" if certificate["round_trip_bit_exact"] else "NOT back bit for bit"
    return [
        f"{_verdict(certificate)}: {checkpoint['name']}, {checkpoint['parameters']:,} parameters {exact}, "
        f"{_comparisons(certificate)}",
        f"sha256 {checkpoint['sha256']}",
    ]


def _of_modules(certificate: Mapping[str, Any]) -> list[str]:
    leaves, differing = certificate["weights"]["leaves"], certificate["weights"]["differing"]
    lines = [f"{leaves - len(differing)} of {leaves} weights are bit for bit what the rules give"]
    if certificate["unwatched"]:
        lines.append(f"not compared one by one: {', '.join(certificate['unwatched'])}")
    if certificate["left_out"]:
        lines.append(
            f"without weights and without a counterpart in JAX: {len(certificate['left_out'])} of PyTorch's calls"
        )
    if certificate["blame"]:
        lines.append(blamed(certificate["blame"]))
    output = certificate["output"]
    lines.append(f"{output['numbers']:,} numbers of the output compared, in {output['leaves']} array(s)")
    return [
        *lines,
        f"{_verdict(certificate)}: {certificate['model']}, {certificate['parameters']:,} parameters, "
        f"{_comparisons(certificate)}",
    ]


def _verdict(certificate: Mapping[str, Any]) -> str:
    return "passed" if certificate["passed"] else "FAILED"


def _comparisons(certificate: Mapping[str, Any]) -> str:
    judged = [*certificate["layers"], *certificate.get("gradients", [])]
    within = sum(entry["passed"] for entry in judged)
    return f"{within} of {len(judged)} comparisons within the rule on {certificate['inputs']['events']:,} events"
