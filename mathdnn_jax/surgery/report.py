"""Reports of what a surgery did to each layer, readable by people and by programs."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

Action = Literal["kept", "changed", "removed", "replaced", "inserted", "left"]


class LayerReport(NamedTuple):
    """What happened to one layer.

    - `layer`, `kind`: its name, and the class of its description before the surgery;
    - `action`: "kept" (there was nothing to do), "changed" (its arrays or its description), "removed", "replaced" (by
      another kind of layer with the same name), "inserted" (it is new), or "left" (it is of a kind that the surgery
      changes, but that was not possible exactly);
    - `detail`: what was done, or why it was not possible, in words; usually empty for "kept";
    - `others`: the names of the other layers that took part.
    """

    layer: str
    kind: str
    action: Action
    detail: str = ""
    others: tuple[str, ...] = ()


class SurgeryReport(NamedTuple):
    """The name of the surgery, and an entry for each layer of the old and of the new network, in their order."""

    surgery: str
    layers: tuple[LayerReport, ...]

    @property
    def left(self) -> tuple[str, ...]:
        """The names of the layers whose action is "left"."""
        return tuple(entry.layer for entry in self.layers if entry.action == "left")

    def as_dict(self) -> dict[str, Any]:
        """Return the report as a JSON-serialisable dict."""
        layers = [{**entry._asdict(), "others": list(entry.others)} for entry in self.layers]
        return {"surgery": self.surgery, "left": list(self.left), "layers": layers}

    def describe(self) -> str:
        """Return the report as a plain-text table with a line for each layer."""
        width = max([len(entry.layer) for entry in self.layers], default=0)
        lines = [f"{e.layer:<{width}}  {e.kind:<13} {e.action:<9} {e.detail}".rstrip() for e in self.layers]
        if all(entry.action == "kept" for entry in self.layers):
            lines.append("there was nothing to do")
        return "\n".join(lines)
