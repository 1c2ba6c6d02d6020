"""Building a self-contained HTML page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from mathdnn_jax.cli.pictures import data_uri

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
img { max-width: 100%; height: auto; }
pre { background: #f4f4f2; padding: .8rem 1rem; overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .15rem .9rem; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
"""


class Section(NamedTuple):
    """A section of the page: heading and text are plain text, the body is HTML."""

    heading: str
    text: str
    body: str


def page(title: str, sections: Iterable[Section]) -> str:
    """The whole page as HTML."""
    parts = "\n".join(
        f"<section>\n<h2>{escape(section.heading)}</h2>\n<p>{escape(section.text)}</p>\n{section.body}\n</section>"
        for section in sections
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n"
        f"{parts}\n</body>\n</html>\n"
    )


def picture(figure: Figure, description: str) -> str:
    """Embed a figure in the page."""
    return f'<p><img src="{data_uri(figure)}" alt="{escape(description)}"></p>'


def preformatted(text: str) -> str:
    """Preformatted text."""
    return f"<pre>{escape(text)}</pre>"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of text cells."""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
