"""The candidates for every layer, and what the caller chose among them: `layouts=` and `sources=`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase

from mathdnn_jax.errors import ConfigurationError
from parity.errors import AmbiguousRulesError
from parity.inference.fitting import Candidate, Evidence, candidates
from parity.inference.structure import Use
from parity.inference.units import Unit, without_collection
from parity.rules.layouts import LAYOUTS
from parity.rules.table import Rule

Found = dict[str, dict[str, list[Candidate]]]


def find_candidates(
    left: Mapping[str, Unit],
    right: Mapping[str, Unit],
    uses: Mapping[str, Use],
    layouts: Mapping[str, str],
    sources: Mapping[str, str],
) -> Found:
    """{target: {source: its candidate rules}}, restricted to the caller's choices.

    Raises:
        ConfigurationError: a choice names no layer, no leaf or no layout, or a layout that no source of the leaf has.
    """
    unknown = [name for name in sources if name not in left] + [name for name in sources.values() if name not in right]
    if unknown:
        raise ConfigurationError(
            f"sources= names no layer: {', '.join(unknown)}; targets are {', '.join(left)}; sources are "
            f"{', '.join(right)}"
        )
    shapes = {path: shape for unit in left.values() for path, shape in unit.arrays.values()}
    ranks = {len(shape) for unit in right.values() for _, shape in unit.arrays.values()}
    # A flattened image may have the channels of any convolution's output, or of two that were joined.
    outputs = {shape[-1] for shape in shapes.values() if len(shape) >= 3 and len(shape) in ranks}
    images = frozenset(outputs | {a + b for a in outputs for b in outputs})
    patterns = {path: pattern for path in shapes for pattern in layouts if _meant(path, pattern)}
    chosen = {path: _parsed(layouts[pattern]) for path, pattern in patterns.items()}
    mixed = any(
        name == "same" and len(shapes[path]) == 2 and (path not in uses or uses[path].kind == "linear")
        for path, (name, _) in chosen.items()
    )
    evidence = Evidence(uses, images, chosen, mixed)
    found: Found = {}
    for name, target in left.items():
        found[name] = {}
        for other, source in right.items():
            wanted = sources.get(name, other) == other and (name in sources or other not in sources.values())
            if wanted and (fitting := candidates(target, source, evidence)):
                found[name][other] = fitting
    every = [rule for fits in found.values() for fitting in fits.values() for rules in fitting for rule in rules]
    made = {rule.target for rule in every if rule.layout == chosen.get(rule.target, ("",))[0]}
    idle = sorted(set(layouts) - {pattern for path, pattern in patterns.items() if path in made})
    if idle:
        raise ConfigurationError(f"layouts= has no effect for {', '.join(idle)}: no such leaf can have that layout")
    return found


def only(target: str, source: str, fitting: Sequence[Candidate], has: Callable[[Candidate], bool]) -> Candidate:
    """The one candidate, or the one of several whose values the tree already `has`.

    Raises:
        AmbiguousRulesError: there are several.
    """
    kept = fitting if len(fitting) == 1 else [candidate for candidate in fitting if has(candidate)]
    if len(kept) == 1:
        return kept[0]
    lines = []
    for choices in zip(*fitting, strict=True):
        texts = dict.fromkeys(map(_text, choices))
        if len(texts) > 1:
            lines.append(f"{choices[0].target} from {', '.join(choices[0].sources)}: {' or '.join(texts)}")
    raise AmbiguousRulesError(
        f"{target} can come from {source} in several layouts, which give different networks:\n  "
        + "\n  ".join(lines)
        + "\nPass apply= and inputs=, whose trace may decide, or choose with layouts={path: layout}"
    )


def _meant(path: str, pattern: str) -> bool:
    return fnmatchcase(path, pattern) or fnmatchcase(without_collection(path), pattern)


def _parsed(text: str) -> tuple[str, Mapping[str, int]]:
    """The layout, and its options if they are given: "flattened 16"."""
    name, *numbers = text.split()
    if name not in LAYOUTS or len(numbers) not in (0, len(LAYOUTS[name].options)) or not all(
        number.isdecimal() and int(number) for number in numbers
    ):  # fmt: skip
        raise ConfigurationError(
            f"layouts= has a layout and its options, such as 'flattened 16', got {text!r}; there are "
            + ", ".join(" ".join([key, *layout.options]) for key, layout in LAYOUTS.items())
        )
    return name, dict(zip(LAYOUTS[name].options, map(int, numbers), strict=False))


def _text(rule: Rule) -> str:
    """A layout with its options, as given in `layouts`."""
    return " ".join([rule.layout, *map(str, rule.options.values())])
