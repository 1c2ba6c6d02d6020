"""smallNetSaved on the CIFAR-10 images: JAX against PyTorch, with batch norm and folded."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import parity
from mathdnn_jax import data, remove_batch_norm
from parity.certification.verdict import LEAST_EVENTS
from parity.containers.checkpoint import sha256

torch = pytest.importorskip("torch", reason="compares with PyTorch")

SHA256 = "718c3980a92773a3b6102219468eecb6d728c320cce2081ed01f12e22e70e4d3"
PYTORCHS_OWN = 9.22e-10
"""The largest squared norm over batches of 100 of what PyTorch's own folding changes in this file."""

BATCH = 100


class Outputs(NamedTuple):
    """Of the 10,000 images."""

    jax: np.ndarray
    jax_folded: np.ndarray
    torch: np.ndarray
    torch_folded: np.ndarray
    labels: np.ndarray


def largest_squared_norm(a: np.ndarray, b: np.ndarray) -> float:
    """Over batches of 100."""
    return float(np.square(a - b).reshape(-1, BATCH * a.shape[-1]).sum(axis=1).max())


@pytest.fixture(scope="module")
def path(shared: Path) -> Path:
    return shared / "checkpoints" / "smallNetSaved"


@pytest.fixture(scope="module")
def outputs(shared: Path, path: Path) -> Outputs:
    from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

    from parity.reference import SmallNetTest, SmallNetTrain

    images, labels = data.load("cifar10", "test", shared / "data")
    x = data.unit_interval(images)
    network, variables, state, _ = parity.restore(path, "small-net")
    folded, folded_variables, _ = remove_batch_norm(network, variables)

    def by_jax(network: Any, variables: Any) -> np.ndarray:
        apply = jax.jit(network.apply)
        return np.concatenate([apply(variables, jnp.asarray(x[i : i + BATCH])) for i in range(0, len(x), BATCH)])

    without = SmallNetTest()
    twin: Any = SmallNetTrain()
    twin.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()}, strict=True)
    twin.eval()
    fused: dict[str, Any] = {
        "conv1": fuse_conv_bn_eval(twin.conv1[0], twin.conv1[1]),
        "conv2": fuse_conv_bn_eval(twin.conv2[0], twin.conv2[1]),
        "fc1": fuse_linear_bn_eval(twin.fc1[0], twin.fc1[1]),
        "fc2": twin.fc2[0],
    }
    arrays = {f"{k}.0.{name}": tensor for k, module in fused.items() for name, tensor in module.state_dict().items()}
    without.load_state_dict(arrays, strict=True)

    def by_torch(module: Any) -> np.ndarray:
        events = torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1)))
        with torch.inference_mode():
            return np.concatenate([module(batch).numpy() for batch in events.split(BATCH)])

    return Outputs(
        by_jax(network, variables), by_jax(folded, folded_variables), by_torch(twin), by_torch(without), labels
    )


def test_it_is_the_file_that_the_figures_are_of(path: Path) -> None:
    assert sha256(path) == SHA256


def test_every_weight_comes_back_to_the_bit_and_pytorch_takes_it(path: Path) -> None:
    from parity.reference import SmallNetTrain

    state = parity.load(path)
    back = parity.export(parity.convert(state, "small-net"), "small-net")
    assert list(back) == list(state)
    assert all(back[name].dtype == a.dtype and back[name].tobytes() == a.tobytes() for name, a in state.items())
    SmallNetTrain().load_state_dict({name: torch.from_numpy(array) for name, array in back.items()}, strict=True)


@pytest.mark.long
def test_pytorchs_own_folding_is_the_published_one(outputs: Outputs) -> None:
    assert largest_squared_norm(outputs.torch, outputs.torch_folded) == pytest.approx(PYTORCHS_OWN, rel=0.05)


@pytest.mark.long
def test_no_folding_and_no_framework_changes_more_than_rounding(outputs: Outputs) -> None:
    for a, b in (
        (outputs.jax, outputs.jax_folded),
        (outputs.jax, outputs.torch),
        (outputs.jax_folded, outputs.torch),
        (outputs.jax_folded, outputs.torch_folded),
    ):
        assert largest_squared_norm(a, b) <= 3 * PYTORCHS_OWN <= 1e-8


@pytest.mark.long
def test_all_make_the_same_predictions(outputs: Outputs) -> None:
    expected = outputs.torch.argmax(axis=1)
    for output in (outputs.jax, outputs.jax_folded, outputs.torch_folded):
        np.testing.assert_array_equal(output.argmax(axis=1), expected)
    assert int((expected == outputs.labels).sum()) == 6434


def test_the_certificates_pass_on_real_images(
    shared: Path, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As many events as the rule wants to take a maximum over; a batch is filled up.
    monkeypatch.setattr("parity.certification.checkpoints.BATCH", LEAST_EVENTS)
    x = data.unit_interval(data.load("cifar10", "test", shared / "data").images[:LEAST_EVENTS])
    certificate = parity.certify(path, "small-net", inputs=x, output=tmp_path / "bn.json")
    assert certificate["passed"]
    assert certificate["checkpoint"]["sha256"] == SHA256
    assert certificate["checkpoint"]["parameters"] == 16_793_370
    network, variables, _, _ = parity.restore(path, "small-net")
    folded = parity.export(remove_batch_norm(network, variables)[1], "small-net-folded")
    parity.save_state(tmp_path / "folded.pt", folded)
    assert parity.certify(tmp_path / "folded.pt", "small-net-folded", inputs=x, output=tmp_path / "f.json")["passed"]


def test_a_checkpoint_of_another_model_is_named(path: Path) -> None:
    with pytest.raises(parity.errors.WrongModelError, match="take model 'small-net', since this has them"):
        parity.restore(path, "small-net-folded")
