"""What a surgery did to each layer, for a person and for a program."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

Action = Literal["kept", "changed", "removed", "replaced", "inserted", "left"]


class LayerReport(NamedTuple):
    """One layer's fate.

    - `layer`, `kind`: its name, and the class of its description before the surgery;
    - `action`: "kept" (nothing was to be done), "changed" (its arrays or description), "removed", "replaced" (by
      another kind of layer under its name), "inserted" (it is new), or "left" (the surgery is about such layers, and
      could not be done exactly);
    - `detail`: what was done, or why not, in words; empty for "kept";
    - `others`: the layers that took part.
    """

    layer: str
    kind: str
    action: Action
    detail: str = ""
    others: tuple[str, ...] = ()


class SurgeryReport(NamedTuple):
    """What a surgery did: its name, and one entry for every layer of the old and the new network, in their order."""

    surgery: str
    layers: tuple[LayerReport, ...]

    @property
    def left(self) -> tuple[str, ...]:
        """The names of the layers that the surgery is about and had to leave."""
        return tuple(entry.layer for entry in self.layers if entry.action == "left")

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON can hold it."""
        layers = [{**entry._asdict(), "others": list(entry.others)} for entry in self.layers]
        return {"surgery": self.surgery, "left": list(self.left), "layers": layers}

    def describe(self) -> str:
        """The report as a table of plain text, one line for each layer."""
        width = max([len(entry.layer) for entry in self.layers], default=0)
        lines = [f"{e.layer:<{width}}  {e.kind:<13} {e.action:<9} {e.detail}".rstrip() for e in self.layers]
        if all(entry.action == "kept" for entry in self.layers):
            lines.append("nothing was to be done")
        return "\n".join(lines)
