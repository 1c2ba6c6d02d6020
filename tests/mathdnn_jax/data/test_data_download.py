"""Downloads from a mirror on this computer: complete files or nothing."""

from __future__ import annotations

import gc
import gzip
import hashlib
import http.server
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mathdnn_jax.data import load
from mathdnn_jax.data.torchvision_import import import_torchvision_datasets
from mathdnn_jax.errors import DataUnavailableError

from .data_files import IMAGES, LABELS, contents, idx_bytes, images_of, labels_of, write_split

pytest.importorskip("torch", reason="MNIST and KMNIST are downloaded by torchvision, which needs torch")

# urllib leaves the connection of a refused request to the garbage collector; the fixture has it collected here,
# rather than during some other test.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


class Mirror:
    """The files of a mirror and the requests to it; `cut` ends every transfer half way through."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.cut = False
        self.url = ""


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """A mirror of MNIST with 5 test and 7 train images, the only one that torchvision knows."""
    mirror = Mirror()
    for prefix, count in (("t10k", 5), ("train", 7)):
        mirror.files[f"{prefix}-images-idx3-ubyte.gz"] = gzip.compress(idx_bytes(images_of(count)))
        mirror.files[f"{prefix}-labels-idx1-ubyte.gz"] = gzip.compress(idx_bytes(labels_of(count)))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.removeprefix("/")
            mirror.asked.append(name)
            content = mirror.files.get(name)
            if content is None:
                self.send_error(404, "gone for good")
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if mirror.cut else content)

        def log_message(self, *_: object) -> None:
            pass

    # What was there before is not looked through when it collects.
    gc.freeze()
    # A proxy that the environment names would not find the mirror.
    monkeypatch.setenv("no_proxy", "*")
    mnist = import_torchvision_datasets().MNIST
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        mirror.url = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setattr(mnist, "mirrors", [mirror.url])
        _set_checksums(mirror, monkeypatch)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield mirror
        finally:
            server.shutdown()
            thread.join()
    gc.collect()
    gc.unfreeze()


def _set_checksums(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    mnist = import_torchvision_datasets().MNIST
    resources = [(name, hashlib.md5(content).hexdigest()) for name, content in mirror.files.items()]
    monkeypatch.setattr(mnist, "resources", resources)


def _files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def test_a_split_is_downloaded_once_and_put_in_its_place(mirror: Mirror, tmp_path: Path) -> None:
    root = tmp_path / "not" / "yet" / "there"
    dataset = load("mnist", "test", root)
    np.testing.assert_array_equal(dataset.images, images_of(5))
    np.testing.assert_array_equal(dataset.labels, labels_of(5))
    assert _files_below(root) == [f"MNIST/raw/{IMAGES}", f"MNIST/raw/{LABELS}"]
    assert [path.name for path in root.iterdir()] == ["MNIST"]

    before = contents(root)
    mirror.asked.clear()
    load("mnist", "test", root)
    assert mirror.asked == []
    assert contents(root) == before


def test_only_the_split_is_asked_for(mirror: Mirror, tmp_path: Path) -> None:
    assert len(load("mnist", "train", tmp_path).images) == 7
    assert set(mirror.asked) == {"train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"}
    assert len(load("mnist", "test", tmp_path).images) == 5
    assert len(_files_below(tmp_path)) == 4


def test_only_the_absent_file_is_asked_for(mirror: Mirror, tmp_path: Path) -> None:
    _, labels = write_split(tmp_path, count=5)
    labels.unlink()
    before = contents(tmp_path)[f"MNIST/raw/{IMAGES}"]
    assert load("mnist", "test", tmp_path).labels.tolist() == [0, 1, 2, 3, 4]
    assert set(mirror.asked) == {f"{LABELS}.gz"}
    assert contents(tmp_path)[f"MNIST/raw/{IMAGES}"] == before


def test_the_next_mirror_is_tried(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mnist = import_torchvision_datasets().MNIST
    monkeypatch.setattr(mnist, "mirrors", [mirror.url + "elsewhere/", mirror.url])
    assert len(load("mnist", "test", tmp_path).images) == 5


def test_a_download_is_silent(mirror: Mirror, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load("mnist", "test", tmp_path)
    assert capfd.readouterr() == ("", "")


def _offline(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    # Port 9 discards what is sent to it, where anything listens at all.
    monkeypatch.setattr(import_torchvision_datasets().MNIST, "mirrors", ["http://127.0.0.1:9/"])


def _gone(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.files.clear()


def _changed(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.files[f"{LABELS}.gz"] = gzip.compress(idx_bytes(labels_of(6)))


def _cut_off(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.cut = True


def _badly_packed(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.files[f"{LABELS}.gz"] = mirror.files[f"{LABELS}.gz"][:-9]
    _set_checksums(mirror, monkeypatch)


def _not_packed(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.files[f"{LABELS}.gz"] = b"not gzip"
    _set_checksums(mirror, monkeypatch)


FAILURES: dict[Callable[[Mirror, pytest.MonkeyPatch], None], str] = {
    _offline: "Connection refused",
    _gone: "gone for good",
    _changed: "corrupted",
    _cut_off: "corrupted",
    _badly_packed: "end-of-stream",
    _not_packed: "Not a gzipped file",
}


@pytest.mark.parametrize("root_exists", [True, False])
@pytest.mark.parametrize("fail", FAILURES)
def test_a_failed_download_leaves_nothing_and_says_what_to_do(
    mirror: Mirror,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fail: Callable[[Mirror, pytest.MonkeyPatch], None],
    root_exists: bool,
) -> None:
    root = tmp_path / "data" / "root"
    if root_exists:
        root.mkdir(parents=True)
    fail(mirror, monkeypatch)
    with pytest.raises(DataUnavailableError) as caught:
        load("mnist", "test", root)
    message = str(caught.value)
    assert f"{IMAGES} and {LABELS} not found in {root / 'MNIST' / 'raw'}" in message
    assert FAILURES[fail] in message
    assert "Pass --data-dir (data_dir=) or set MATHDNN_DATA to a folder that contains MNIST/raw/" in message
    assert "connect to the network" in message
    assert len(message) < 1000
    assert [path.name for path in tmp_path.rglob("*")] == (["data", "root"] if root_exists else [])


def test_a_failed_download_leaves_what_was_there(mirror: Mirror, tmp_path: Path) -> None:
    _, labels = write_split(tmp_path, count=5)
    labels.unlink()
    before = contents(tmp_path)[f"MNIST/raw/{IMAGES}"]
    mirror.files.clear()
    with pytest.raises(DataUnavailableError, match=re.escape(f"{LABELS} not found")) as caught:
        load("mnist", "test", tmp_path)
    assert IMAGES not in str(caught.value)
    assert _files_below(tmp_path) == [f"MNIST/raw/{IMAGES}"]
    assert contents(tmp_path)[f"MNIST/raw/{IMAGES}"] == before


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, AttributeError])
def test_an_interrupted_download_leaves_nothing(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interruption: type[BaseException]
) -> None:
    found: list[str] = []

    def interrupt(*_: Any, **__: Any) -> None:
        found.extend(_files_below(tmp_path))
        raise interruption

    monkeypatch.setattr("torchvision.datasets.utils.extract_archive", interrupt)
    with pytest.raises(interruption):
        load("mnist", "test", tmp_path / "root")
    # The archive was there, inside the root, so that there was something to leave behind.
    assert [Path(name).name for name in found] == [f"{IMAGES}.gz"]
    assert Path(found[0]).parts[0] == "root"
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_between_the_moves_leaves_whole_files(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if target.name == LABELS:
            raise OSError(28, "No space left on device")
        return original(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(DataUnavailableError, match="No space left on device"):
        load("mnist", "test", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["MNIST"]
    assert _files_below(tmp_path) == [f"MNIST/raw/{IMAGES}"]
    assert (tmp_path / "MNIST" / "raw" / IMAGES).read_bytes() == idx_bytes(images_of(5))


def test_a_root_that_is_not_a_folder(mirror: Mirror, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    for root in (file, file / "below"):
        with pytest.raises(DataUnavailableError, match=r"the download failed: \[Errno"):
            load("mnist", "test", root)
    assert file.read_text() == "not a folder"
    assert mirror.asked == []
