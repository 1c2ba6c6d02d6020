"""Other conventions of resizing an image: where the pixels lie, by which kernel, and what happens at the edges."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from parity.certification.causes.cause import Change, Number, replaced
from parity.certification.causes.tape import Call, named

ARGUMENTS = ("input", "size", "scale_factor", "mode", "align_corners", "recompute_scale_factor", "antialias")
COORDINATES = {
    "half_pixel": "pixels as areas, their centres at i + 1/2",
    "align_corners": "the corners aligned",
    "asymmetric": "pixels at i, without the half",
}
METHODS = {"linear": 1.0, "cubic, a = −0.75": 2.0, "cubic, a = −0.5": 2.0, "nearest": 0.5, "Lanczos 3": 3.0}
"""The kernels, and how far they reach."""


def resizings(call: Call, calls: Sequence[Call]) -> Iterator[Change | Number]:
    """Yield the alternatives to `interpolate`."""
    del calls
    if call.name not in ("interpolate", "upsample"):
        return
    given = named(ARGUMENTS, call.args, call.kwargs)
    size = call.outputs[0].shape[2:]
    mode = given.get("mode", "nearest")
    method = {"bicubic": "cubic, a = −0.75"}.get(mode, "nearest" if mode.startswith("nearest") else "linear")
    place = "align_corners" if given.get("align_corners") else "asymmetric" if mode == "nearest" else "half_pixel"
    antialias = bool(given.get("antialias"))
    present = (method, place, antialias, "repeated")
    smaller = any(n < m for n, m in zip(size, call.tensors[0].shape[2:], strict=True))
    for asked in itertools.product(METHODS, COORDINATES, (False, True), ("repeated", "left out")):
        other, _, smooth, edge = asked
        plain = other in ("nearest", "linear") and not smooth
        if asked == present or (edge == "left out" and plain) or (smooth and (other == "nearest" or not smaller)):
            continue
        edit = replaced(lambda x, *_, asked=asked, **__: resized(x, size, *asked))
        yield Change(_convention(asked, present), _text(asked, present), {call.number: edit}, _rank(asked, present))


def _rank(asked: tuple[Any, ...], present: tuple[Any, ...]) -> int:
    """Return 0 for a single difference: PyTorch's "nearest" means pixels without the half too."""
    differing: int = sum(a != b for a, b in zip(asked, present, strict=True))
    if asked[0] != present[0] and "nearest" in (asked[0], present[0]) and asked[1] != present[1]:
        differing -= 1
    return min(max(differing - 1, 0), 1)


def resized(
    x: torch.Tensor, size: Sequence[int], method: str, coordinates: str, antialias: bool, edge: str
) -> torch.Tensor:
    """Resize the axes from the third on, one after the other."""
    for axis, out in enumerate(size, start=2):
        table = weights(x.shape[axis], out, method, coordinates, antialias, edge).to(x.dtype)
        x = torch.tensordot(x, table, ([axis], [1])).movedim(-1, axis)
    return x


def weights(size: int, out: int, method: str, coordinates: str, antialias: bool, edge: str) -> torch.Tensor:
    """Return the (out, size) matrix of a resize; beyond the edges, pixels are "repeated" or "left out"."""
    i = torch.arange(out, dtype=torch.float64)
    if coordinates == "align_corners":
        at = i * ((size - 1) / max(out - 1, 1))
    else:
        at = (i + 0.5) * (size / out) - 0.5 if coordinates == "half_pixel" else i * (size / out)
    if method == "nearest":
        found = torch.floor(at + 0.5) if coordinates != "asymmetric" else torch.floor(at)
        return torch.nn.functional.one_hot(found.long().clamp(0, size - 1), size).double()
    width = max(size / out, 1.0) if antialias else 1.0
    reach = int(METHODS[method] * width) + 1
    columns = torch.arange(-reach, size + reach, dtype=torch.float64)
    table = _kernel(method, (at[:, None] - columns) / width)
    if edge == "left out":
        table = table[:, reach:-reach]
    else:
        inside = columns.clamp(0, size - 1).long()
        table = torch.zeros(out, size, dtype=torch.float64).index_add(1, inside, table)
    return table / table.sum(1, keepdim=True)


def _kernel(method: str, x: torch.Tensor) -> torch.Tensor:
    x = x.abs()
    if method == "linear":
        return (1 - x).clamp(min=0)
    if method == "Lanczos 3":
        return torch.where(x < 3, torch.sinc(x) * torch.sinc(x / 3), 0.0)
    a = -0.75 if "0.75" in method else -0.5
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * x * a - 4 * a
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def _convention(asked: tuple[Any, ...], present: tuple[Any, ...]) -> str:
    if asked[0] != present[0]:
        both_cubic = asked[0].startswith("cubic") and present[0].startswith("cubic")
        return "cubic_coefficient" if both_cubic else "resize_method"
    if asked[1] != present[1]:
        return "align_corners" if "align_corners" in (asked[1], present[1]) else "half_pixel"
    return "antialias" if asked[2] != present[2] else "resize_edges"


def _text(asked: tuple[Any, ...], present: tuple[Any, ...]) -> str:
    def told(choice: tuple[Any, ...]) -> str:
        method, coordinates, antialias, edge = choice
        smooth = ", antialiased" if antialias else ""
        edges = ", nothing beyond the edges" if edge == "left out" else ""
        return f"{method} with {COORDINATES[coordinates]}{smooth}{edges}"

    return f"resizes by {told(asked)}, where PyTorch has {told(present)}"
