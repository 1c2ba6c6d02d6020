"""Inpainting a real image with the real checkpoint, beside the PyTorch loop.

With the course's step of 1e-3 the loop is chaotic: log p falls in every second step, and rounding is multiplied by a
million in fifty steps. PyTorch in float64, started one ulp off, is 1e-4 away from itself after 236 steps and 0.2 after
300. So the two programs are compared step by step all along PyTorch's trajectory, in float64 for as long as that means
anything, and from one end to the other where the loop is stable, with a tenth of the step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import parity
from mathdnn_jax import Flow, data
from mathdnn_jax.bijectors import Params
from mathdnn_jax.tasks import corrupt, inpaint, projected_ascent, rectangle

torch = pytest.importorskip("torch", reason="compares with PyTorch")

# Many small programs, each run a few times.
pytestmark = pytest.mark.usefixtures("quick_compilation")

STEPS, STEP_SIZE = 300, 1e-3
MISSING = rectangle((28, 28), (5, 12), (5, 20))
FLAT = MISSING.reshape(-1)


@pytest.fixture(scope="module")
def model(shared: Path) -> tuple[Flow, Params]:
    flow, params, _, _ = parity.restore(shared / "checkpoints" / "nice.pt")
    return flow, params


@pytest.fixture(scope="module")
def twin(shared: Path) -> Any:
    from parity.reference import NICE

    twin = NICE()
    twin.load_state_dict(torch.load(shared / "checkpoints" / "nice.pt", weights_only=True))
    return twin.requires_grad_(False)


@pytest.fixture(scope="module")
def image(shared: Path) -> np.ndarray:
    return corrupt(data.load("mnist", "test", shared / "data").images[6:7], MISSING)


def loop(twin: Any, start: np.ndarray, step_size: float, steps: int = STEPS) -> tuple[np.ndarray, np.ndarray]:
    from parity.reference.inpaint import inpaint as torch_inpaint

    dtype = np.dtype(str(next(twin.parameters()).dtype).split(".")[1])
    events = torch.from_numpy(start.reshape(-1, 784).astype(dtype))
    images, log_prob = torch_inpaint(twin.log_prob, events, torch.from_numpy(FLAT), steps=steps, step_size=step_size)
    return images.numpy(), log_prob.numpy()


@pytest.fixture(scope="module")
def trajectory(twin: Any, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """PyTorch's own, in float32, with the course's step."""
    images, log_prob = loop(twin, image, STEP_SIZE)
    return images[:, 0], log_prob[:, 0]


@pytest.mark.long
def test_every_step_of_the_seeds_loop_is_pytorchs(
    model: tuple[Flow, Params], trajectory: tuple[np.ndarray, np.ndarray]
) -> None:
    (flow, params), (images, log_prob) = model, trajectory
    step = jax.jit(
        lambda x: projected_ascent(flow.log_prob, params, x, jnp.asarray(FLAT), optimizer=optax.sgd(STEP_SIZE), steps=1)
    )
    after, values = step(jnp.asarray(images[:-1]))
    np.testing.assert_allclose(after, images[1:], rtol=0, atol=1e-4)
    np.testing.assert_allclose(values[0], log_prob[:-1], rtol=0, atol=2e-3)
    assert (np.diff(log_prob) < 0).sum() > 100


@pytest.mark.parametrize("steps", [100, pytest.param(STEPS, marks=pytest.mark.long)])
def test_where_the_loop_is_stable_the_whole_trajectory_is_pytorchs(
    model: tuple[Flow, Params], twin: Any, image: np.ndarray, steps: int
) -> None:
    images, log_prob = loop(twin, image, STEP_SIZE / 10, steps)
    found = inpaint(*model, image, MISSING, steps=steps, step_size=STEP_SIZE / 10)
    (best,) = found.best_step
    np.testing.assert_allclose(found.images.reshape(784), images[best, 0], rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.log_prob[:, 0], log_prob[:, 0], rtol=0, atol=0.02)


@pytest.mark.long
def test_in_float64_the_first_fifty_steps_are_pytorchs_and_rounding_grows_a_thousandfold(
    model: tuple[Flow, Params], twin: Any, image: np.ndarray
) -> None:
    flow, params = model
    steps = 50
    # The second is one ulp away from the first in every missing pixel.
    start = np.concatenate([image, np.where(MISSING, np.nextafter(image.astype(np.float64), 0), image)])
    images, log_prob = loop(twin.double(), start, STEP_SIZE, steps)
    twin.float()
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), params)
        x, missing = jnp.asarray(start.reshape(2, 784), jnp.float64), jnp.asarray(FLAT)
        run = jax.jit(
            lambda x: projected_ascent(flow.log_prob, params, x, missing, optimizer=optax.sgd(STEP_SIZE), steps=steps)
        )
        end, history = run(x[:1])
    np.testing.assert_allclose(end[0], images[-1, 0], rtol=0, atol=1e-7)
    np.testing.assert_allclose(history[:, 0], log_prob[:, 0], rtol=0, atol=1e-4)
    apart = np.abs(images[:, 0] - images[:, 1]).max(-1)
    assert apart[0] < 2e-16
    assert apart[-1] > 1e3 * apart[0]


def test_the_digit_becomes_likely_again(model: tuple[Flow, Params], image: np.ndarray) -> None:
    found = inpaint(*model, image, MISSING, step_size=1e-2, halvings=16, steps=40)
    assert (np.diff(found.log_prob, axis=0) >= 0).all()
    assert found.log_prob[0, 0] < 600
    assert found.log_prob[-1, 0] > 1500
    assert (found.images[:, ~MISSING] == image[:, ~MISSING]).all()
