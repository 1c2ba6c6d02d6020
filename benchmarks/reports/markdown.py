"""Tables in Markdown, and inserting generated text into a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.errors import ResultsError
from mathdnn_jax.files import replace_file


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    return [cells(*head), cells(*["---"] * len(head)), *(cells(*row) for row in rows)]


def cells(*texts: str) -> str:
    """Return one line of a table; bars and line breaks in the texts cannot break it."""
    return "| " + " | ".join(" ".join(text.replace("|", "\\|").split()) for text in texts) + " |"


def insert(path: Path, texts: Mapping[str, str]) -> None:
    """Insert each text into a page, between the lines `<!-- begin NAME -->` and `<!-- end NAME -->`.

    Raises:
        ResultsError: the page has no such lines for any of the texts, or an end line is missing.
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
        raise ResultsError(f"{path} has no line <!-- begin NAME --> for any NAME of {', '.join(texts)}: add one")
    with replace_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
