"""Running the checker on every map of the zoo."""

from __future__ import annotations

import importlib
import importlib.metadata
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from benchmarks.checker import wrong_elementwise, wrong_structured, zoo_distrax, zoo_flowjax, zoo_tfp, zoo_torch
from benchmarks.checker.entry import Entry
from mathdnn_jax.testing import BijectorCheckError, check_bijector


class Library(NamedTuple):
    """A library: its name, the module and the distribution that contain it, and the entries of its maps."""

    name: str
    module: str
    distribution: str
    entries: tuple[Entry, ...]


class Row(NamedTuple):
    """The outcome of one map.

    `verdict` is "passes", "caught" (wrong on purpose, and found to be), "finding" (meant to be right, but found to be
    wrong, as the entry says), "MISSED" or "ACCUSED" (the checker errs), or "not run". `seconds` are processor time.
    """

    library: str
    version: str
    name: str
    verdict: str
    found: str = ""
    seconds: float | None = None


LIBRARIES = (
    Library("distrax", "distrax", "distrax", zoo_distrax.ENTRIES),
    Library("flowjax", "flowjax", "flowjax", zoo_flowjax.ENTRIES),
    Library("TFP on JAX", "tensorflow_probability.substrates.jax", "tfp-nightly", zoo_tfp.ENTRIES),
    Library("torch.distributions", "torch", "torch", zoo_torch.TORCH),
    Library("zuko", "zuko", "zuko", zoo_torch.ZUKO),
)
WRONG = wrong_elementwise.ENTRIES + wrong_structured.ENTRIES


def run(
    libraries: Sequence[Library] = LIBRARIES,
    wrong: Sequence[Entry] = WRONG,
    say: Callable[[str], object] = lambda _: None,
) -> Iterator[Row]:
    """Check every map with the checker's defaults; a library that is not installed becomes one row that says so."""
    for library in libraries:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                importlib.import_module(library.module)
            version = importlib.metadata.version(library.distribution)
        except ImportError as error:
            yield Row(library.name, "", f"{len(library.entries)} maps", "not run", str(error))
            continue
        for entry in library.entries:
            say(f"{library.name} {entry.name}")
            yield row_of(entry, library.name, version)
    for entry in wrong:
        say(f"wrong: {entry.name}")
        yield row_of(entry, "wrong on purpose", "")


def row_of(entry: Entry, library: str, version: str) -> Row:
    """Check one map, and state whether the checker was right."""
    start = time.process_time()
    error = check(entry)
    seconds = time.process_time() - start
    found = "" if error is None else f"{error.check} ({error.direction})"
    if entry.catch:
        verdict = "caught" if error is not None and error.check in entry.catch else "MISSED"
    elif entry.known is not None:
        verdict, found = ("finding" if error is not None else "MISSED"), f"{found}: {entry.known}"
    else:
        verdict = "passes" if error is None else "ACCUSED"
    return Row(library, version, entry.name, verdict, found, seconds)


def check(entry: Entry) -> BijectorCheckError | None:
    """Check one map with the checker's defaults, ignoring the warnings of other libraries."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            check_bijector(*entry.make(), **entry.options)
        except BijectorCheckError as error:
            return error
    return None
