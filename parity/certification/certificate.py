"""The certificate itself: what both of its kinds state, how it is written, and what a failed one says first."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mathdnn_jax.files import replace_file
from mathdnn_jax.versions import versions
from parity.certification.comparison import PRECISION
from parity.certification.measure import Evidence, summary
from parity.certification.verdict import MAX_FACTOR, RMS_FACTOR, RULE, verdicts
from parity.errors import CertificationError


def circumstances(stored: Sequence[str] = ()) -> dict[str, Any]:
    """Return what every certificate states of the run: where it ran, how precisely, and by which rule it judges.

    `stored` are the dtypes of weights in half precision, which are compared in float32.
    """
    weights = f"float32, stored in {' and '.join(stored)}" if stored else "float32"
    return {
        "backend": {"jax": jax.default_backend(), "device": jax.devices()[0].device_kind, "torch": "cpu"},
        "precision": {"jax_default_matmul_precision": PRECISION, "weights": weights, "truth": "PyTorch, float64"},
        "versions": versions(),
        "written": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "rule": {"rms_factor": RMS_FACTOR, "max_factor": MAX_FACTOR, "text": RULE},
    }


def entries(evidence: Mapping[str, Evidence], submodules: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Judge every layer, in the order of computation; `submodules` are the names to state of the PyTorch side."""
    return [
        {
            "layer": name,
            **({"torch": submodules[name]} if submodules is not None else {}),
            "passed": not reasons,
            "failures": list(reasons),
            **summary(evidence[name]),
        }
        for name, reasons in verdicts(evidence).items()
    ]


def passed(judged: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether all of these entries pass."""
    return all(entry["passed"] for entry in judged)


def conclude(certificate: dict[str, Any], target: Path | None) -> dict[str, Any]:
    """Write the certificate, if it has a place, and return it.

    Raises:
        CertificationError: it did not pass.
    """
    if target is not None:
        with replace_file(target) as temporary:
            temporary.write_text(json.dumps(certificate, indent=2, allow_nan=False) + "\n")
    if not certificate["passed"]:
        place = "" if target is None else f"\nAll of the evidence is in {target}"
        raise CertificationError(f"{failure(certificate)}{place}", certificate)
    return certificate


def failure(certificate: Mapping[str, Any]) -> str:
    """Return what a failed certificate says first: the first layer that departs, and what is wrong with the weights."""
    lines = []
    if not certificate.get("round_trip_bit_exact", True):
        lines.append("the weights do not come back bit for bit from the conversion")
    for what, noun in (("layers", "layers"), ("layer_inputs", "inputs of layers"), ("gradients", "gradients")):
        failed = [entry for entry in certificate.get(what, []) if not entry["passed"]]
        if failed and not (what == "layer_inputs" and lines):
            first, worst = failed[0], failed[0]["jax_to_torch_float32"]["absolute"]
            lines.append(
                f"JAX and PyTorch differ by more than rounding in {len(failed)} of {len(certificate[what])} {noun}, "
                f"first in {first['layer']}: {'; '.join(first['failures'])}. Greatest difference there: "
                f"{worst['greatest']:.6g} at {tuple(worst['index'])}: JAX {worst['jax']:.9g}, "
                f"PyTorch {worst['torch']:.9g}"
            )
    if certificate.get("blame"):
        lines.append(blamed(certificate["blame"]))
    either = certificate.get("output", {}).get("either_layout")
    if either and lines:
        lines.append(
            f"{', '.join(either)} may have the channels first in PyTorch or not, and was compared as "
            f"{certificate['output']['layouts'][either[0]]!r}: output_layout= says so if it is otherwise"
        )
    differing = certificate.get("weights", {}).get("differing")
    if differing:
        lines.append(f"these weights are not what the rules make of the PyTorch module's: {', '.join(differing)}")
    return "\n".join(lines)


def blamed(blame: Mapping[str, Any]) -> str:
    """Return in words where two networks depart first, and the likely cause if one is known."""
    there = ""
    if blame["between"] is not None:
        there = f", where PyTorch has {', '.join(blame['modules']) or 'no module, but functions or operators'}"
    why = "The float64 runs agree: the formula is right, the arithmetic is poorer."
    if blame["formula"]:
        why = "The float64 runs differ there too: it is the formula, or the weights."
    if blame["float32"]:
        why = "The float64 runs differ there as float32 rounds: a cast to float32, or a constant in float32."
    if not blame["finite"]:
        why = "There are values that are NaN or infinite there, which cannot be compared."
    cause = f" Likely cause: {blame['cause']}." if blame["cause"] else ""
    return f"What is wrong is {blame['place']}{there}. {why}{cause}"


def differing_bits(expected: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Return the names of the arrays whose dtype or bits differ."""
    return [
        name
        for name, array in expected.items()
        if np.asarray(array).dtype != np.asarray(given[name]).dtype
        or np.asarray(array).tobytes() != np.asarray(given[name]).tobytes()
    ]
