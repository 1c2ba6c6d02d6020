from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import mathdnn_jax
from mathdnn_jax.errors import ConfigurationError, DivergedError
from mathdnn_jax.training import fit, stream
from mathdnn_jax.training.batches import Remainder

from .lines import BATCH, DATA, KEY, OPTIMIZER, Tree, assert_same, loss, masked_loss, noisy_loss, start


class Rows:
    """The data row by row, recording what was read."""

    def __init__(self, data: dict[str, np.ndarray]) -> None:
        self.data, self.lock = data, threading.Lock()
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.data["y"])

    def __getitem__(self, index: int) -> dict[str, Any]:
        with self.lock:
            self.read.append(index)
        return {name: leaf[index] for name, leaf in self.data.items()}


def run(data: Tree, loss: Any = noisy_loss, **changes: Any) -> Any:
    arguments: dict[str, Any] = {"epochs": 3, "batch_size": BATCH, "key": KEY} | changes
    return fit(loss, start(), data, OPTIMIZER, **arguments)


@pytest.fixture(scope="module")
def _grain() -> None:
    pytest.importorskip("grain", reason="streams are read by grain")


@pytest.mark.usefixtures("_grain")
@pytest.mark.parametrize("steps", [1, 4, 100])
def test_a_stream_is_the_data_it_reads(steps: int) -> None:
    expected, result = run(DATA), run(stream(Rows(DATA), steps=steps))
    np.testing.assert_allclose(result.history.loss, expected.history.loss, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), result.params, expected.params)


@pytest.mark.usefixtures("_grain")
@pytest.mark.parametrize(("remainder", "chosen"), [("pad", masked_loss), ("wrap", noisy_loss), ("drop", noisy_loss)])
def test_its_last_batch_is_treated_alike(remainder: Remainder, chosen: Any) -> None:
    expected = run(DATA, chosen, batch_size=16, remainder=remainder)
    result = run(stream(Rows(DATA)), chosen, batch_size=16, remainder=remainder)
    np.testing.assert_allclose(result.history.loss, expected.history.loss, rtol=1e-6)


@pytest.mark.usefixtures("_grain")
def test_the_order_of_threads_changes_nothing() -> None:
    first = run(stream(Rows(DATA), threads=8, prefetch=30))
    assert_same(first, run(stream(Rows(DATA), threads=1, prefetch=1)))


@pytest.mark.usefixtures("_grain")
def test_a_memory_mapped_file_is_a_source(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.concatenate([DATA["x"], DATA["y"][:, None]], axis=1))

    def of_rows(params: Tree, batch: Tree, key: jax.Array) -> Any:
        return loss(params, {"x": batch[:, :3], "y": batch[:, 3]}, key)

    result = run(stream(np.load(tmp_path / "x.npy", mmap_mode="r")), of_rows)
    np.testing.assert_allclose(result.history.loss, run(DATA, loss).history.loss, rtol=1e-5)


@pytest.mark.usefixtures("_grain")
def test_divergence_is_noticed_soon() -> None:
    source = Rows({**DATA, "y": np.where(np.arange(40) == 3, np.nan, DATA["y"])})
    with pytest.raises(DivergedError, match=r"step 0 \(batch 0 of epoch 0"):
        run(stream(source, steps=1, prefetch=1, threads=1), loss, epochs=50, shuffle=False)
    assert len(source.read) < 20 * BATCH


@pytest.mark.usefixtures("_grain")
def test_nothing_is_read_beyond_the_end() -> None:
    source = Rows(DATA)
    run(stream(source))
    assert sorted(source.read) == sorted(list(range(40)) * 3)


@pytest.mark.usefixtures("_grain")
def test_a_resumed_stream_reads_on_from_where_it_was(tmp_path: Path) -> None:
    pytest.importorskip("orbax.checkpoint", reason="checkpoints are written by orbax")
    from mathdnn_jax.training import Checkpoints

    whole = run(stream(Rows(DATA)))
    run(stream(Rows(DATA)), epochs=2, checkpoints=Checkpoints(tmp_path))
    source = Rows(DATA)
    resumed = run(stream(source), checkpoints=Checkpoints(tmp_path, resume=True))
    assert_same(resumed, whole)


def test_invalid_arguments_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="threads=0, steps=0"):
        stream(Rows(DATA), threads=0, steps=0)
    with pytest.raises(ConfigurationError, match="__len__ and __getitem__, given int"):
        stream(3)  # type: ignore[arg-type]


def test_absent_packages_are_named() -> None:
    code = f"""
import sys
sys.path[:0] = [{str(Path(mathdnn_jax.__file__).parents[1])!r}]
sys.modules["grain"] = sys.modules["orbax"] = sys.modules["orbax.checkpoint"] = None
import mathdnn_jax.training as training
import mathdnn_jax.errors
from tests.mathdnn_jax.training.lines import DATA, KEY, OPTIMIZER, loss, start
for data, checkpoints in ((training.stream(DATA["x"]), None), (DATA, training.Checkpoints("nowhere"))):
    try:
        training.fit(loss, start(), data, OPTIMIZER, epochs=1, batch_size=8, key=KEY, checkpoints=checkpoints)
    except mathdnn_jax.errors.MissingDependencyError as error:
        print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == 'MissingDependencyError streamed data needs grain: pip install "mathdnn_jax[stream]"'
    assert second == 'MissingDependencyError checkpoints need orbax: pip install "mathdnn_jax[checkpoint]"'
