"""Everything that docstrings cite is in docs/course.md, and everything that docs/course.md points to exists."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest

from mathdnn_jax.claims import CLAIMS

REPOSITORY = Path(__file__).resolve().parents[1]
COURSE = (REPOSITORY / "docs" / "course.md").read_text(encoding="utf-8")


def unwrapped(*patterns: str) -> dict[str, str]:
    """The text of files by their path, each on one line and without the marks of comments."""
    paths = sorted(path for pattern in patterns for path in REPOSITORY.glob(pattern))
    return {
        path.relative_to(REPOSITORY).as_posix(): re.sub(r"\s+(# )?", " ", path.read_text(encoding="utf-8"))
        for path in paths
    }


SOURCES = unwrapped("mathdnn_jax/**/*.py", "parity/**/*.py", "benchmarks/**/*.py")
PAGES = unwrapped("docs/**/*.md", "README.md", "CONTRIBUTING.md")

PROBLEM = r"[QP]\d(?:\([a-e]\))?"
CITATION = re.compile(rf"\b[Cc]ourse (\d{{3}})((?:(?:, and |, | and | to ){PROBLEM}|(?:, | and )\([a-e]\))*)")
ERRATUM = re.compile(r"\b[Ee]rrat(?:um|a):? (E\d+(?:(?:, and |, | and | to )E\d+)*)")
CLAIM = re.compile(r"\b([FCVGPBE]\d{1,2}\.[a-z][a-z0-9_]+)\b")
POINTER = re.compile(r"((?:`\w+`(?:, | and )?)+) in `([\w/]+\.py)`")


class Entry(NamedTuple):
    """A system or an erratum as docs/course.md describes it."""

    problems: set[tuple[str, str]]
    claims: list[str]
    errata: list[str]
    paragraphs: list[str]


def problems(text: str) -> set[tuple[str, str]]:
    """Pairs of a sheet and a problem, ("003", "P4(d)"); a part without its problem is one of the problem before it."""
    found = set()
    for sheet, cited in CITATION.findall(text):
        last = ""
        for name in re.findall(rf"{PROBLEM}|\([a-e]\)", cited):
            last = name if name[0] in "QP" else f"{last[:2]}{name}"
            found.add((sheet, last))
    return found


def errata(text: str) -> set[str]:
    return {number for cited in ERRATUM.findall(text) for number in re.findall(r"E\d+", cited)}


def read_entries() -> dict[str, Entry]:
    found = {}
    for name, body in re.findall(r"^### (\w+): .+\n((?:(?!##).*\n?)*)", COURSE, re.MULTILINE):
        paragraphs = [part for part in body.strip().split("\n\n") if part]
        lines = {line.partition(":")[0]: line for line in paragraphs[-1].splitlines()}
        listed = CLAIM.findall(lines.get("- Claims", ""))
        found[name] = Entry(problems(paragraphs[0]), listed, re.findall(r"E\d+", lines.get("- Errata", "")), paragraphs)
    return found


ENTRIES = read_entries()
CITED = {problem for entry in ENTRIES.values() for problem in entry.problems}


def resolves(sheet: str, problem: str) -> bool:
    """Whether an entry is about this problem, about the whole problem whose part it is, or about one of its parts."""
    return any(
        (there, name[:2]) == (sheet, problem[:2]) and (name == problem or len(min(name, problem, key=len)) == 2)
        for there, name in CITED
    )


def test_what_files_cite_has_an_entry() -> None:
    sheets, claims = {f"00{k}" for k in range(5)}, {claim.id for claim in CLAIMS}
    assert {path for path, text in SOURCES.items() if problems(text)}, "no file cites a problem: is the pattern right?"
    missing = {}
    for path, text in (SOURCES | PAGES).items():
        missing[path] = [sheet for sheet, _ in CITATION.findall(text) if sheet not in sheets]
        missing[path] += [f"course {sheet}, {name}" for sheet, name in problems(text) if not resolves(sheet, name)]
        missing[path] += sorted(errata(text) - set(ENTRIES)) + sorted(set(CLAIM.findall(text)) - claims)
    assert {path: cited for path, cited in missing.items() if cited} == {}


def test_problems_are_cited_as_those_of_the_course() -> None:
    other = re.compile(rf"\bseeds? 00\d.{{0,9}}|(?<!course )\b00[0-4],? {PROBLEM}", re.IGNORECASE)
    assert {path: found for path, text in SOURCES.items() if (found := other.findall(text))} == {}


def test_the_source_of_a_claim_is_a_problem_of_its_entry() -> None:
    for claim in CLAIMS:
        cited = problems(claim.source)
        assert all(resolves(*problem) for problem in cited), claim.id
        about = {(sheet, name[:2]) for sheet, name in ENTRIES[_system(claim.id)].problems}
        assert about & {(sheet, name[:2]) for sheet, name in cited}, claim.id
        assert errata(claim.source) <= set(ENTRIES), claim.id


def _system(claim_id: str) -> str:
    return claim_id.partition(".")[0]


def test_every_claim_is_listed_under_its_system() -> None:
    registered = {claim.id for claim in CLAIMS}
    for name, entry in ENTRIES.items():
        assert set(entry.claims) <= registered, name
        assert {claim for claim in registered if _system(claim) == name} <= set(entry.claims), name
    assert registered == {claim for entry in ENTRIES.values() for claim in entry.claims}


def test_errata_are_numbered_and_listed_with_their_systems() -> None:
    numbers = [name for name in ENTRIES if name.startswith("E")]
    assert numbers == [f"E{k}" for k in range(1, 18)]
    listed = [number for entry in ENTRIES.values() for number in entry.errata]
    assert sorted(listed) == sorted(set(numbers))


def test_the_table_of_sheets_says_which_systems_are_about_a_problem() -> None:
    listed = set()
    for sheet, row in re.findall(r"^\| course (\d{3}) \|[^|]*\|([^|]*)\|$", COURSE, re.MULTILINE):
        for problem, systems in re.findall(r"([QP]\d): ([^;|]+?)(?=;| *$)", row.strip()):
            about = {
                name
                for name, entry in ENTRIES.items()
                if not name.startswith("E")
                and any((there, cited[:2]) == (sheet, problem) for there, cited in entry.problems)
            }
            assert set(systems.split(", ")) == about, (sheet, problem)
            listed.add((sheet, problem))
    assert listed == {(sheet, name[:2]) for sheet, name in CITED}


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_has_a_problem_a_statement_and_a_place(name: str) -> None:
    problem, *statement, places = ENTRIES[name].paragraphs
    assert ENTRIES[name].problems
    assert problem.startswith("*course ")
    assert problem.endswith(".")
    assert statement
    assert places.startswith("- Implemented: ")
    pointers = POINTER.findall(places)
    assert pointers
    for names, path in pointers:
        module = import_module(path.removesuffix(".py").replace("/", "."))
        room = import_module(".".join(path.split("/")[:2]))
        for public in re.findall(r"`(\w+)`", names):
            assert getattr(room, public) is getattr(module, public), f"{public} in {path}"
            assert public in room.__all__, f"{public} is not public in {room.__name__}"


def test_every_path_exists() -> None:
    paths = re.findall(r"`([\w/]+/[\w./]*)`", COURSE)
    assert paths
    for path in paths:
        assert (REPOSITORY / path).exists(), path
