"""The real checkpoint on the real images, against the figures measured in PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest

import parity
from mathdnn_jax import Flow, data
from mathdnn_jax.bijectors import Params
from mathdnn_jax.tasks import detect, halve, score
from parity.certification.verdict import LEAST_EVENTS
from parity.containers.checkpoint import sha256

torch = pytest.importorskip("torch", reason="compares with PyTorch")

SHA256 = "c990612dcbfcfbc17bf105358c0252152d7ca1095a6297fe8cc7950369d6b093"


class LogProbs(NamedTuple):
    """log p of the 10,000 MNIST and the 10,000 KMNIST test images, three times."""

    jax32: np.ndarray
    torch32: np.ndarray
    truth: np.ndarray


@pytest.fixture(scope="module")
def images(shared: Path) -> np.ndarray:
    sets = [data.load(name, "test", shared / "data").images for name in ("mnist", "kmnist")]
    return data.unit_interval(np.concatenate(sets)).reshape(20_000, 784)


@pytest.fixture(scope="module")
def model(shared: Path) -> tuple[Flow, Params]:
    flow, params, _, _ = parity.restore(shared / "checkpoints" / "nice.pt")
    return flow, params


@pytest.fixture(scope="module")
def log_probs(shared: Path, images: np.ndarray, model: tuple[Flow, Params]) -> LogProbs:
    from parity.reference import NICE

    twin = NICE()
    twin.load_state_dict(torch.load(shared / "checkpoints" / "nice.pt", weights_only=True), strict=True)
    with torch.inference_mode():
        torch32 = np.concatenate([twin.log_prob(batch).numpy() for batch in torch.from_numpy(images).split(1000)])
        twin.double()
        doubles = torch.from_numpy(images.astype(np.float64)).split(1000)
        truth = np.concatenate([twin.log_prob(batch).numpy() for batch in doubles])
    return LogProbs(score(*model, images).log_prob, torch32, truth)


def test_it_is_the_file_that_the_figures_are_of(shared: Path) -> None:
    assert sha256(shared / "checkpoints" / "nice.pt") == SHA256


def test_every_weight_comes_back_to_the_bit(shared: Path, model: tuple[Flow, Params]) -> None:
    state = parity.load(shared / "checkpoints" / "nice.pt")
    back = parity.export(model[1])
    assert sum(array.size for array in back.values()) == 19_158_352
    assert back.keys() == state.keys()
    assert all(back[name].tobytes() == array.tobytes() for name, array in state.items())


@pytest.mark.long
def test_log_prob_is_the_published_one(log_probs: LogProbs) -> None:
    np.testing.assert_allclose(
        log_probs.truth[:3], [1984.5608831842, 108.1194193593, 2225.2225826665], rtol=0, atol=1e-6
    )
    assert log_probs.truth[:10_000].mean() == pytest.approx(1741.445442845, abs=1e-6)
    assert log_probs.truth[10_000:].mean() == pytest.approx(-22534.747094281, abs=1e-5)
    np.testing.assert_allclose(log_probs.jax32[:3], [1984.5609, 108.1194, 2225.2226], rtol=0, atol=2e-3)


@pytest.mark.long
def test_float32_errors_are_no_greater_than_pytorchs(log_probs: LogProbs) -> None:
    jax_error = np.abs(log_probs.jax32 - log_probs.truth)
    torch_error = np.abs(log_probs.torch32 - log_probs.truth)
    ulp = np.spacing(np.float32(np.abs(log_probs.truth[jax_error.argmax()])))
    assert np.sqrt(np.square(jax_error).mean()) <= 1.5 * np.sqrt(np.square(torch_error).mean())
    assert jax_error.max() <= 3 * torch_error.max() + ulp


@pytest.mark.long
@pytest.mark.parametrize("split", ["halves", "random"])
def test_jax_and_pytorch_make_the_same_errors(log_probs: LogProbs, split: str) -> None:
    validation, test = halve(10_000, split, seed=1)  # type: ignore[arg-type]
    found = [
        detect(values[:10_000][validation], values[:10_000][test], values[10_000:])
        for values in (log_probs.jax32, log_probs.torch32, log_probs.truth)
    ]
    counts = [(one.type_1_errors, one.type_1_total, one.type_2_errors, one.type_2_total) for one in found]
    assert counts[0] == counts[1] == counts[2]
    if split == "halves":
        assert counts[0] == (82, 5000, 21, 10_000)
        assert found[2].threshold == pytest.approx(28.783220125, abs=1e-6)
        assert found[0].threshold == pytest.approx(28.78322, abs=2e-3)


@pytest.mark.parametrize("count", [LEAST_EVENTS, pytest.param(256, marks=pytest.mark.long)])
def test_the_certificate_passes_on_real_images(
    shared: Path, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    # A batch is filled up.
    monkeypatch.setattr("parity.certification.checkpoints.BATCH", count)
    mixed = images[np.r_[0:count, 10_000 : 10_000 + count]]
    certificate = parity.certify(shared / "checkpoints" / "nice.pt", inputs=mixed, output=tmp_path / "nice.json")
    assert certificate["passed"]
    assert certificate["checkpoint"]["sha256"] == SHA256


def test_samples_look_like_digits_to_the_flow_itself(model: tuple[Flow, Params]) -> None:
    flow, params = model
    draw = jax.jit(flow.sample_and_log_prob, static_argnums=2)
    x, log_prob = draw(params, jax.random.key(0), (64,))
    np.testing.assert_allclose(jax.jit(flow.log_prob)(params, x), log_prob, rtol=0, atol=0.05)


def test_a_checkpoint_of_another_model_is_named(shared: Path) -> None:
    with pytest.raises(parity.errors.WrongModelError, match=r"not a NICE's.*conv1\.0\.weight"):
        parity.restore(shared / "checkpoints" / "smallNetSaved")
