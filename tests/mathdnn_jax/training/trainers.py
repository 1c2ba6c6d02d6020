"""Runs that tests start as separate processes: `python -m tests.mathdnn_jax.training.trainers KIND FOLDER …`."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

# First of all, since JAX reads it when it is imported.
if __name__ == "__main__" and sys.argv[1].startswith("devices"):
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={sys.argv[1].removeprefix('devices')}"

import jax
import jax.numpy as jnp
import numpy as np
import optax

import mathdnn_jax
from mathdnn_jax.errors import UnsavedError
from mathdnn_jax.training import Checkpoints, FitResult, device_mesh, fit, join_processes, shard_wide_layers

REPOSITORY = Path(mathdnn_jax.__file__).parents[1]
EXAMPLES, DIM, WIDTH = 96, 6, 32
_rng = np.random.default_rng(0)
DATA = _rng.normal(size=(EXAMPLES, DIM)).astype(np.float32)


def begin(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    """Run this file as a program, with the package that is imported here even if another one is installed."""
    paths = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.mathdnn_jax.training.trainers", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> str:
    """Wait for the process to succeed, and return its output."""
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said
    return said


def start() -> Any:
    rng = np.random.default_rng(1)
    shapes = {"encode": (DIM, WIDTH), "middle": (WIDTH, WIDTH), "decode": (WIDTH, DIM)}
    kernels = {name: rng.normal(size=shape) / np.sqrt(shape[0]) for name, shape in shapes.items()}
    return {
        name: {"kernel": jnp.asarray(kernel, jnp.float32), "bias": jnp.zeros(kernel.shape[1])}
        for name, kernel in kernels.items()
    }


def loss(params: Any, batch: jax.Array, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The loss of a denoising autoencoder, which draws noise and has layers wide enough to shard."""
    hidden = batch + 0.1 * jax.random.normal(key, batch.shape)
    for name in ("encode", "middle"):
        hidden = jnp.tanh(hidden @ params[name]["kernel"] + params[name]["bias"])
    error = hidden @ params["decode"]["kernel"] + params["decode"]["bias"] - batch
    return (error**2).mean(), {"largest": jnp.abs(error).max()}


OPTIMIZER = optax.adam(1e-2)


def train(*, epochs: int = 6, **changes: Any) -> FitResult:
    arguments: dict[str, Any] = {"batch_size": 16, "key": jax.random.key(0), "ema_decay": 0.9} | changes
    return fit(loss, start(), DATA, OPTIMIZER, epochs=epochs, **arguments)


def write(result: FitResult, path: Path) -> None:
    leaves = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(result.params)}
    arrays: dict[str, Any] = {f"params{name}": np.asarray(leaf) for name, leaf in leaves.items()}
    np.savez(path, loss=result.history.loss, **arrays)


def on_devices(folder: Path) -> None:
    """The run on a mesh of all devices, sharded in three ways, and repeated once."""
    spread = device_mesh()
    both = device_mesh(data=len(jax.devices()) // 2, model=2)
    specs = shard_wide_layers(start(), both, least=WIDTH)
    write(train(mesh=spread), folder / "data.npz")
    write(train(mesh=spread), folder / "again.npz")
    wide = train(mesh=both, param_specs=specs)
    moment = wide.optimizer_state[0].mu["middle"]["kernel"]
    assert moment.sharding.shard_shape(moment.shape) == (WIDTH, WIDTH // 2), moment.sharding
    assert wide.params["decode"]["kernel"].is_fully_replicated
    gathered = jax.device_put(wide.params, jax.devices()[0])
    write(wide._replace(params=gathered), folder / "model.npz")
    checkpoints = Checkpoints(folder / "checkpoints")
    train(mesh=both, param_specs=specs, epochs=3, checkpoints=checkpoints)
    resumed = train(mesh=both, param_specs=specs, checkpoints=checkpoints._replace(resume=True))
    write(resumed._replace(params=jax.device_put(resumed.params, jax.devices()[0])), folder / "resumed.npz")


def in_processes(folder: Path) -> None:
    """One of several processes, given by the environment; then a run in two parts."""
    assert join_processes()
    mesh = device_mesh()
    result = train(mesh=mesh)
    checkpoints = Checkpoints(folder / "checkpoints", keep=2)
    train(mesh=mesh, epochs=3, checkpoints=checkpoints)
    resumed = train(mesh=mesh, checkpoints=checkpoints._replace(resume=True))
    write(result, folder / f"process{jax.process_index()}.npz")
    write(resumed, folder / f"resumed{jax.process_index()}.npz")


def killable(folder: Path, epochs: int) -> None:
    """A run that writes checkpoints all the time and resumes from the newest one."""
    checkpoints = Checkpoints(folder, every_steps=2, keep=2, best="loss", resume=True)
    print("training", flush=True)
    write(train(epochs=epochs, checkpoints=checkpoints), folder.with_suffix(".npz"))


def on_a_full_disk(folder: Path) -> None:
    """A run in two parts, where no file of the second can exceed a few bytes; then one that can continue."""
    checkpoints = Checkpoints(folder, resume=True)
    train(epochs=2, checkpoints=checkpoints)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most))
    try:
        train(checkpoints=checkpoints)
    except UnsavedError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    left = [path.name for path in folder.iterdir() if not path.name.isdecimal()]
    equal = jax.tree.map(lambda one, other: bool((one == other).all()), train(checkpoints=checkpoints).params,
                         train().params)  # fmt: skip
    print(f"left over: {left}; the same in the end: {all(jax.tree.leaves(equal))}")


if __name__ == "__main__":
    kind, where = sys.argv[1], Path(sys.argv[2])
    if kind.startswith("devices"):
        on_devices(where)
    elif kind == "process":
        in_processes(where)
    elif kind == "full":
        on_a_full_disk(where)
    else:
        killable(where, int(sys.argv[3]))
