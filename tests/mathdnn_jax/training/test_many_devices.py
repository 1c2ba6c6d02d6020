"""One device, four virtual devices, and two processes compute the same run."""

from __future__ import annotations

import socket
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.training import device_mesh, fit, join_processes, shard_wide_layers

from . import trainers

TOLERANCE = 2e-5
"""Of float32 losses after 36 steps of Adam on sums that are added up in another order."""


def read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def on_one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    path = tmp_path_factory.mktemp("one") / "one.npz"
    trainers.write(trainers.train(), path)
    return read(path)


def assert_same_run(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> None:
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_allclose(left[name], right[name], rtol=TOLERANCE, atol=TOLERANCE, err_msg=name)


def assert_same_bits(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> None:
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


def test_four_virtual_devices(tmp_path: Path, on_one: dict[str, np.ndarray]) -> None:
    pytest.importorskip("orbax.checkpoint", reason="checkpoints are written by orbax")
    trainers.end(trainers.begin("devices4", tmp_path))
    for way in ("data", "model"):
        assert_same_run(read(tmp_path / f"{way}.npz"), on_one)
    assert_same_bits(read(tmp_path / "data.npz"), read(tmp_path / "again.npz"))
    assert_same_bits(read(tmp_path / "model.npz"), read(tmp_path / "resumed.npz"))


@pytest.mark.long
def test_two_processes(tmp_path: Path, on_one: dict[str, np.ndarray]) -> None:
    pytest.importorskip("orbax.checkpoint", reason="checkpoints are written by orbax")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    processes = [
        trainers.begin(
            "process", tmp_path, MATHDNN_COORDINATOR=address, MATHDNN_PROCESSES="2", MATHDNN_PROCESS_ID=str(own)
        )
        for own in range(2)
    ]
    for process in processes:
        trainers.end(process)
    first, second = (read(tmp_path / f"process{own}.npz") for own in range(2))
    assert_same_run(first, on_one)
    assert_same_bits(first, second)
    for own in range(2):
        assert_same_bits(read(tmp_path / f"resumed{own}.npz"), first)


def test_a_mesh_of_one_device_is_that_device(on_one: dict[str, np.ndarray], tmp_path: Path) -> None:
    trainers.write(trainers.train(mesh=device_mesh(data=1)), tmp_path / "mesh.npz")
    assert_same_run(read(tmp_path / "mesh.npz"), on_one)


def test_wide_layers_are_spread_by_their_outputs() -> None:
    mesh = jax.make_mesh((1, 1), ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    specs = shard_wide_layers(trainers.start(), mesh, least=trainers.WIDTH)
    assert specs["encode"] == {"kernel": PartitionSpec(None, "model"), "bias": PartitionSpec("model")}
    assert specs["decode"] == {"kernel": PartitionSpec(), "bias": PartitionSpec()}
    with pytest.raises(ConfigurationError, match="axis 'model'"):
        shard_wide_layers(trainers.start(), device_mesh(data=1))


def test_meshes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"64 x 2 devices .*device_count=128"):
        device_mesh(data=64, model=2)
    other = jax.make_mesh((1,), ("other",), axis_types=(jax.sharding.AxisType.Auto,))
    with pytest.raises(ConfigurationError, match="axis 'data', but the mesh has"):
        trainers.train(mesh=other)
    with pytest.raises(ConfigurationError, match="PartitionSpec for each parameter"):
        trainers.train(mesh=device_mesh(data=1), param_specs={"encode": PartitionSpec()})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("127.0.0.1:1", 2, None), "no MATHDNN_PROCESS_ID"),
        (("127.0.0.1:1", 2, 2), "given 2 of 2"),
        (("127.0.0.1:1", 0, 0), "given 0 of 0"),
    ],
)
def test_invalid_process_numbers_are_refused(
    arguments: tuple[str, int, int], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("COORDINATOR", "PROCESSES", "PROCESS_ID"):
        monkeypatch.delenv(f"MATHDNN_{name}", raising=False)
    with pytest.raises(ConfigurationError, match=words):
        join_processes(*arguments)
    assert not join_processes()
    monkeypatch.setenv("MATHDNN_PROCESSES", "two")
    with pytest.raises(ConfigurationError, match="whole numbers"):
        join_processes("127.0.0.1:1", None, 0)


def test_a_stream_can_be_spread() -> None:
    pytest.importorskip("grain", reason="streams are read by grain")
    from mathdnn_jax.training import stream

    whole = trainers.train(mesh=device_mesh(data=1))
    streamed = fit(trainers.loss, trainers.start(), stream(trainers.DATA), trainers.OPTIMIZER, epochs=6,
                   batch_size=16, key=jax.random.key(0), mesh=device_mesh(data=1))  # fmt: skip
    np.testing.assert_allclose(streamed.history.loss, whole.history.loss, rtol=1e-5)
    assert jnp.isfinite(streamed.history.loss).all()
