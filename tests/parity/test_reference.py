from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import parity
from mathdnn_jax import nice
from mathdnn_jax.bijectors import Params

from .twins import small_state

torch = pytest.importorskip("torch", reason="compares with PyTorch")

# Many small programs, each run a few times.
pytestmark = pytest.mark.usefixtures("quick_compilation")


def test_names_and_shapes_are_those_of_the_checkpoints() -> None:
    from parity.reference import NICE

    shapes = {name: tuple(tensor.shape) for name, tensor in NICE().state_dict().items()}
    expected: dict[str, tuple[int, ...]] = {"scaling.scale": (1, 784)}
    for i in range(4):
        layers = {"in_block.0": (1000, 392), "out_block": (392, 1000)}
        layers |= {f"mid_block.{j}.0": (1000, 1000) for j in range(4)}
        for name, shape in layers.items():
            expected |= {f"coupling.{i}.{name}.weight": shape, f"coupling.{i}.{name}.bias": shape[:1]}
    assert shapes == expected


@functools.cache
def compiled(*sizes: int) -> Callable[..., tuple[jax.Array, ...]]:
    """z, log_det, f⁻¹(x) and log p(x) of a flow of these sizes."""
    flow = nice(*sizes)

    @jax.jit
    def compute(params: Params, x: jax.Array) -> tuple[jax.Array, ...]:
        return *flow.forward(params, x), flow.inverse(params, x)[0], flow.log_prob(params, x)

    return compute


@given(
    sizes=st.sampled_from([(2, 1, 1, 1), (2, 5, 3, 4), (6, 1, 1, 4), (6, 5, 1, 1), (6, 1, 3, 4)]),
    seed=st.integers(0, 2**31 - 1),
)
def test_both_networks_are_one_function(sizes: tuple[int, int, int, int], seed: int) -> None:
    from parity.reference import NICE

    dim, width, depth, couplings = sizes
    state = small_state(seed, np.float64, {"dim": dim, "width": width, "depth": depth, "couplings": couplings})
    twin = NICE(dim, width, depth, couplings).double()
    twin.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    x = np.random.default_rng(seed).normal(size=(7, dim))
    with jax.enable_x64(True), torch.inference_mode():
        events = torch.from_numpy(x)
        z, log_det = twin(events)
        expected = z, log_det.expand(7), twin.inverse(events)[0], twin.log_prob(events)
        for mine, theirs in zip(compiled(*sizes)(parity.convert(state), x), expected, strict=True):
            scale = float(np.abs(theirs.numpy()).max()) + 1
            np.testing.assert_allclose(mine, theirs.numpy(), rtol=0, atol=1e-13 * scale)


def test_the_twin_samples_itself() -> None:
    from parity.reference import NICE

    twin = NICE(4, 3, 1, 2)
    with torch.inference_mode():
        x = twin.sample(1000)
        np.testing.assert_allclose(twin.inverse(twin(x)[0])[0].numpy(), x.numpy(), atol=1e-5)
    assert x.shape == (1000, 4)


def test_an_odd_dimension_has_no_twin() -> None:
    from parity.reference import NICE

    with pytest.raises(ValueError, match="dim must be even, given 5"):
        NICE(5)


def test_initialisers_agree_with_torchs_own() -> None:
    from scipy import stats

    from parity.reference import NICE

    twin: Any = NICE(40, 50, 2, 1).coupling[0]
    params = jax.jit(nice(40, 50, 2, 1).init)(jax.random.key(0))["coupling_0"]
    for module, layer in (
        (twin.in_block[0], "dense_0"),
        (twin.mid_block[0][0], "dense_1"),
        (twin.out_block, "dense_2"),
    ):
        kernel = np.asarray(params[layer]["kernel"]).ravel()
        assert stats.ks_2samp(module.weight.detach().numpy().ravel(), kernel).pvalue > 1e-6
        # Same bounds for the bias, which its own shape does not tell.
        bound = 1 / np.sqrt(module.in_features)
        for bias in (module.bias.detach().numpy(), np.asarray(params[layer]["bias"])):
            assert 0.8 * bound < np.abs(bias).max() <= bound


def test_training_lowers_the_loss_and_keeps_the_callers_torch_as_it_was() -> None:
    from parity.reference.train import train_nice

    images = np.random.default_rng(0).integers(0, 17, (60, 2, 2)) / 16
    torch.manual_seed(3)
    before, threads = torch.rand(1), torch.get_num_threads()
    torch.manual_seed(3)
    epochs: list[int] = []
    short = train_nice(images, levels=17, width=4, depth=1, couplings=2, epochs=1)
    longer = train_nice(images, levels=17, width=4, depth=1, couplings=2, epochs=40, on_epoch=epochs.append)
    assert torch.rand(1) == before
    assert torch.get_num_threads() == threads
    assert sum(epochs) == 40
    events = torch.from_numpy(images.astype(np.float32)).flatten(1)
    with torch.inference_mode():
        assert longer.log_prob(events).mean() > short.log_prob(events).mean() + 0.1
