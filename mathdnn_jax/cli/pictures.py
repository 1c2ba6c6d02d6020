"""Writing figures to files and embedding them in a page."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

from mathdnn_jax.errors import OutputError
from mathdnn_jax.files import check_writable, replace_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure


FORMATS = (".png", ".jpg", ".svg", ".pdf")


def check_picture(path: str | os.PathLike[str]) -> Path:
    """Return `path` as a `Path` to which a picture can be written.

    Raises:
        OutputError: Its suffix is not that of a known format, or the file cannot be written.
    """
    target = check_writable(path)
    if target.suffix.lower() not in FORMATS:
        raise OutputError(f"cannot write {target}: the suffix of a picture must be one of {', '.join(FORMATS)}")
    return target


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure atomically, in the format of the path's suffix.

    Raises:
        OutputError: As in `check_picture`.
    """
    with replace_file(check_picture(path)) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower())


def data_uri(figure: Figure) -> str:
    """Encode a figure as a PNG in a `data:` URI, so that a page needs no other file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
