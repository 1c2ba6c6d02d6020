"""Tables in Markdown, and putting a text in its place on a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.errors import ResultsError
from mathdnn_jax.files import replace_file


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    return [cells(*head), cells(*["---"] * len(head)), *(cells(*row) for row in rows)]


def cells(*texts: str) -> str:
    """A line of a table: no text breaks it, neither a bar nor the end of a line."""
    return "| " + " | ".join(" ".join(text.replace("|", "\\|").split()) for text in texts) + " |"


def insert(path: Path, texts: Mapping[str, str]) -> None:
    """Put each text on a page between the lines `<!-- begin NAME -->` and `<!-- end NAME -->`.

    Raises:
        ResultsError: the page has a place for none of them, or one that does not end.
        OutputError: the page cannot be written.
    """
    try:
        page = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ResultsError(f"cannot read the page {path}: {error}") from error
    places = 0
    for name, text in texts.items():
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
        if begin not in page:
            continue
        before, rest = page.split(begin, 1)
        if end not in rest:
            raise ResultsError(f"{path} has no line {end} after {begin.strip()}")
        page = f"{before}{begin}{text.strip()}\n{end}{rest.split(end, 1)[1]}"
        places += 1
    if not places:
        raise ResultsError(f"{path} has a place for none of {', '.join(texts)}: a line <!-- begin NAME -->")
    with replace_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
