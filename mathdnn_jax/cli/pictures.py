"""Figures as files and as parts of a page."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING

from mathdnn_jax.errors import OutputError
from mathdnn_jax.files import replace_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the path's suffix, whole or not at all.

    Raises:
        OutputError: matplotlib has no such format, or the file cannot be written.
    """
    formats = sorted(figure.canvas.get_supported_filetypes())
    if path.suffix[1:] not in formats:
        raise OutputError(f"cannot write {path}: a picture's suffix is one of {', '.join('.' + f for f in formats)}")
    with replace_file(path) as temporary:
        figure.savefig(temporary)


def data_uri(figure: Figure) -> str:
    """A figure as a PNG inside a `data:` address, so that a page needs no other file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
