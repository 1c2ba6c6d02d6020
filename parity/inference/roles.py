"""What the arrays of a layer are called on either side, and which of them belong together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from parity.rules.layouts import Shape

BIAS, WEIGHT, MEAN, VAR, COUNT = "bias", "weight", "mean", "var", "count"
TARGET_ROLES = {
    "kernel": WEIGHT, "scale": WEIGHT, "embedding": WEIGHT, "weight": WEIGHT, "w": WEIGHT, "W": WEIGHT,
    "negative_slope": WEIGHT, "bias": BIAS, "b": BIAS, "mean": MEAN, "running_mean": MEAN, "var": VAR,
    "running_var": VAR, "num_batches_tracked": COUNT,
}  # fmt: skip
NORM = {"gamma": WEIGHT, "beta": BIAS}
"""A norm's scale and shift in TensorFlow and in what was ported from it; one without the other may be anything."""
SOURCE_ROLES = {
    "weight": WEIGHT, "bias": BIAS, "running_mean": MEAN, "running_var": VAR, "num_batches_tracked": COUNT,
    "weight_g": "g", "weight_v": "v", "parametrizations.weight.original0": "g",
    "parametrizations.weight.original1": "v", "weight_orig": "orig", "weight_u": "u",
    "parametrizations.weight.original": "orig", "parametrizations.weight.0._u": "u",
    "parametrizations.weight.0._v": "v", "in_proj_weight": "in_weight", "in_proj_bias": "in_bias",
    "q_proj_weight": "query_weight", "k_proj_weight": "key_weight", "v_proj_weight": "value_weight",
    "out_proj.weight": "out_weight", "out_proj.bias": "out_bias",
}  # fmt: skip
LAYERS = (
    {WEIGHT}, {WEIGHT, BIAS}, {"g", "v"}, {"g", "v", BIAS}, {"orig", "u", "v"}, {"orig", "u", "v", BIAS}, {MEAN, VAR},
    {MEAN, VAR, WEIGHT, BIAS}, {"in_weight", "out_weight"}, {"in_weight", "out_weight", "in_bias", "out_bias"},
    {"query_weight", "key_weight", "value_weight", "out_weight"},
    {"query_weight", "key_weight", "value_weight", "in_bias", "out_weight", "out_bias"},
)  # fmt: skip
"""The roles that make up a layer; arrays with any other roles are on their own."""
ATTENTION = "attention"
RNN = re.compile(r"(?P<module>.*?)\.?(?P<role>(?:weight|bias)_(?:ih|hh))(?P<layer>_l\d+(?:_reverse)?)?")
GATES = {"lstm": ("i", "f", "g", "o"), "gru": ("r", "z", "n")}

SIDES = (("i", "h"), ("dense_i", "dense_h"))
"""The names of the two products, of x and of h, in Linen's SimpleCell and NNX's SimpleCell and OptimizedLSTMCell."""


def source_role(key: str, attention: set[str]) -> tuple[str, str]:
    """(module, role) of a PyTorch key; `attention` are the modules that keep a projection in an array of their own."""
    if match := RNN.fullmatch(key):
        return ".".join(filter(None, (match["module"], (match["layer"] or "").lstrip("_")))), match["role"]
    for suffix, role in sorted(SOURCE_ROLES.items(), key=lambda item: -len(item[0])):
        module = key.removesuffix(f".{suffix}")
        if key == suffix or module != key:
            module = "" if key == suffix else module
            if suffix.startswith("out_proj") and module not in attention:
                continue
            return module, role
    module, _, leaf = key.rpartition(".")
    return module, leaf


def composite_kind(parent: str, shapes: Mapping[str, Shape]) -> str | None:
    """The kind of layer that has its arrays in several modules, or None."""
    below = {p.removeprefix(f"{parent}/").split("/")[0].rstrip("_") for p in shapes if p.startswith(f"{parent}/")}
    if below == {"query", "key", "value", "out"} and len(shapes.get(f"{parent}/query/kernel", ())) == 3:
        return ATTENTION
    for sides in SIDES:
        if below == set(sides) and _cell([shapes.get(f"{parent}/{side}/kernel", ()) for side in sides]):
            return "cell"
    for kind, gates in GATES.items():
        inner = {"in", "hn"} if kind == "gru" else set()
        if below == {f"{side}{gate}" for side in "ih" for gate in gates} | inner:
            return kind
    return None


def _cell(kernels: list[Shape]) -> bool:
    """Whether (in, n H) and (H, n H) are the kernels of a plain RNN, n = 1, or an LSTM, n = 4.

    A GRU with stacked gates has no counterpart in PyTorch, whose GRU has another bias on the hidden side, inside the
    reset.
    """
    if [len(kernel) for kernel in kernels] != [2, 2]:
        return False
    first, second = kernels
    return first[1] == second[1] and second[1] in (second[0], 4 * second[0])


def norm_modules(paths: Iterable[str], separator: str) -> set[str]:
    """The modules that have both gamma and beta, and no other scale."""
    leaves: dict[str, set[str]] = {}
    for path in paths:
        module, _, leaf = path.rpartition(separator)
        leaves.setdefault(module, set()).add(leaf)
    return {module for module, found in leaves.items() if found >= NORM.keys() and not found & {"weight", "scale"}}


def scales_of_kernels(paths: Iterable[str]) -> dict[str, str]:
    """{scale: kernel} of Linen's WeightNorm, which keeps scales beside the layer: `WeightNorm_0/fc/kernel/scale`."""
    every, found = set(paths), {}
    for path in every:
        parts = path.removesuffix("/scale").split("/")
        kernels = [kernel for k in range(len(parts) - 1) if (kernel := "/".join(parts[:k] + parts[k + 1 :])) in every]
        if path.endswith("/kernel/scale") and len(kernels) == 1:
            found[path] = kernels[0]
    return found
