"""Downloads through torchvision that leave either complete files or nothing."""

from __future__ import annotations

import http.client
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from mathdnn_jax.data.root import ENVIRONMENT_VARIABLE
from mathdnn_jax.errors import DataUnavailableError
from mathdnn_jax.files import temporary_folder

# torchvision's own error, those of the file system and the network, and those of a damaged archive.
_FAILURES = (RuntimeError, OSError, http.client.HTTPException, EOFError, zlib.error)
_LONGEST_QUOTE = 400


def only_files(source: Any, files: Sequence[Path], **overrides: Any) -> Any:
    """Return a subclass of the torchvision data set `source` that requires only `files`.

    torchvision requires the files of both splits, whichever of them is read. Its folder has the name of the class, so
    the subclass has the same name. Files that were converted by early versions are ignored, because only the raw ones
    are checked.
    """
    names = {file.name for file in files}
    members = {
        "resources": [resource for resource in source.resources if Path(resource[0]).stem in names],
        "_check_legacy_exist": _no_legacy_files,
    }
    return type(source.__name__, (source,), members | overrides)


def download(source: Any, root: Path, files: Sequence[Path]) -> None:
    """Download `files`, all in one folder below `root`, with the mirrors and checksums of the class `source`.

    They are downloaded, checked and unpacked in a temporary folder inside `root`, and each is then moved into place
    atomically. Whatever happens in between, no partial file and no new empty folder is left behind.

    Raises:
        DataUnavailableError: The download failed, or its result could not be written.
    """
    # The downloaded files alone may not be enough for torchvision to read a split.
    source = only_files(source, files, _load_data=_nothing_read)
    example = f"{files[0].relative_to(root)} and the like"
    fetch_atomically(lambda folder: source(folder, download=True), root, files, example)


def fetch_atomically(fetch: Callable[[str], object], root: Path, files: Sequence[Path], example: str) -> None:
    """Let `fetch` write `files` (or folders), all in one folder below `root`, to a temporary folder, then move them.

    Raises:
        DataUnavailableError: It failed, or its result could not be written. The message names `example` as an entry of
            a data folder.
    """
    folder = files[0].parent
    try:
        with _removed_if_empty_on_failure(folder):
            root.mkdir(parents=True, exist_ok=True)
            with temporary_folder(root, ".download-") as temporary:
                with _silence():
                    fetch(str(temporary))
                folder.mkdir(parents=True, exist_ok=True)
                for file in files:
                    (temporary / file.relative_to(root)).replace(file)
    except _FAILURES as error:
        raise _unavailable(folder, files, example, error) from error


def _no_legacy_files(_: Any) -> bool:
    return False


def _nothing_read(_: Any) -> tuple[None, None]:
    return None, None


@contextmanager
def _silence() -> Iterator[None]:
    """Suppress progress bars and notes, which torchvision has no argument to turn off."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield


@contextmanager
def _removed_if_empty_on_failure(folder: Path) -> Iterator[None]:
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        yield
    except BaseException:
        for place in new:
            with suppress(OSError):
                place.rmdir()
        raise


def _unavailable(folder: Path, files: Sequence[Path], example: str, error: BaseException) -> DataUnavailableError:
    names = " and ".join(file.name for file in files)
    quote = " ".join(str(error).split()) or type(error).__name__
    if len(quote) > _LONGEST_QUOTE:
        quote = quote[:_LONGEST_QUOTE] + "..."
    return DataUnavailableError(
        f"{names} not found in {folder}, and the download failed: {quote}\n"
        f"Pass --data-dir (data_dir=) or set {ENVIRONMENT_VARIABLE} to a folder that contains "
        f"{example}, or connect to the network and try again."
    )
