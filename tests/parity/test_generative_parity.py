from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import parity
from mathdnn_jax import gan
from parity import errors
from parity.models import find_model
from parity.rules.layouts import LAYOUTS
from parity.rules.tree import flatten

from .generative_states import CONFIGS, state_of, twin
from .twins import save

torch = pytest.importorskip("torch", reason="compares with PyTorch")

# Many small programs, each run a few times.
pytestmark = pytest.mark.usefixtures("quick_compilation")

LAYERS = {
    "vae": ["encoder/dense_0", "encoder/mean", "encoder/log_variance", "decoder/dense_0", "decoder/dense_1"],
    "autoencoder": [f"{side}/dense_{k}" for side in ("encoder", "decoder") for k in range(3)],
    "gan-generator": ["dense_0", "norm_0", "relu_0", "dense_1", "norm_1", "relu_1", "dense_2", "output"],
    "gan-discriminator": ["dense_0", "relu_0", "dense_1", "relu_1", "dense_2"],
    "dcgan-generator": [f"gen_{k}_{j}" for k in range(3) for j in range(3)] + ["gen_3_0", "gen_3_1"],
    "dcgan-discriminator": ["disc_0_0", "disc_0_1", "disc_1_0", "disc_1_1", "disc_1_2", "disc_2_0"],
    "lenet": ["conv1", "conv2", "fc1", "fc2", "fc3"],
}


def double(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64) if leaf.dtype == np.float32 else leaf, tree)


@pytest.mark.parametrize("model", list(CONFIGS))
def test_weights_go_there_and_back_to_the_bit(model: str, tmp_path: Path) -> None:
    state = state_of(twin(model))
    params = parity.convert(state, model)
    back = parity.export(params, model)
    assert back.keys() == state.keys()
    assert all(back[name].tobytes() == array.tobytes() for name, array in state.items())
    parity.save_params(tmp_path / "weights.safetensors", params, model)
    again = parity.restore(tmp_path / "weights.safetensors", model)
    assert again.config == CONFIGS[model]
    for path, leaf in flatten(params).items():
        np.testing.assert_array_equal(leaf, flatten(again.params)[path])


@pytest.mark.parametrize("model", list(CONFIGS))
def test_each_is_certified_layer_by_layer(model: str, tmp_path: Path) -> None:
    path = save(state_of(twin(model)), tmp_path / "model.pt")
    certificate = parity.certify(path, model, output=tmp_path / "c.json", events=100)
    assert certificate["passed"]
    assert certificate["config"] == CONFIGS[model]
    last = ["reconstruction"] if model in ("vae", "autoencoder") else []
    assert sorted(layer["layer"] for layer in certificate["layers"]) == sorted(LAYERS[model] + last)


@pytest.mark.parametrize("model", list(CONFIGS))
def test_another_models_weights_are_refused(model: str) -> None:
    for other in CONFIGS:
        if other != model:
            with pytest.raises(errors.ConversionError):
                parity.convert(state_of(twin(other)), model)
            with pytest.raises(errors.ConversionError):
                parity.export(parity.convert(state_of(twin(other)), other), model)


@pytest.mark.parametrize("model", list(CONFIGS))
def test_events_have_the_axes_that_the_model_states(model: str) -> None:
    specification = find_model(model)
    assert len(specification.events(CONFIGS[model]).shape) == specification.event_ndims


def test_a_prior_that_is_not_trainable_has_no_arrays() -> None:
    config = {**CONFIGS["vae"], "prior": "standard"}
    state = state_of(twin("vae", config=config))
    assert not any("prior" in name for name in state)
    assert parity.export(parity.convert(state, "vae"), "vae").keys() == state.keys()


def test_a_transposed_kernel_is_turned() -> None:
    weight = np.arange(2 * 3 * 2 * 2).reshape(2, 3, 2, 2)
    layout, options = LAYOUTS["transposed_convolution"], {"groups": 1}
    kernel = layout.to_target(weight, (2, 2, 2, 3), options)
    assert kernel.shape == (2, 2, 2, 3)
    assert kernel[0, 0, 1, 2] == weight[1, 2, 1, 1]
    assert layout.source_shape(kernel.shape, options) == weight.shape
    np.testing.assert_array_equal(layout.to_source(kernel, weight.shape, options), weight)


@pytest.mark.parametrize("prior", ["trainable", "standard"])
def test_the_bound_and_its_gradient_are_pytorchs(prior: str) -> None:
    config = {**CONFIGS["vae"], "prior": prior}
    module, x = twin("vae", config=config), np.random.default_rng(0).random((9, 12))
    params, key = parity.convert(state_of(module), "vae"), jax.random.key(1)
    model = find_model("vae").build(**config)
    module.double()
    with jax.enable_x64(True):
        noise = np.array(jax.random.normal(key, (9, 3), jnp.float64))
        bound = jax.jit(jax.value_and_grad(lambda p, x: model.elbo(p, x, key).mean()))
        mine, gradient = bound(double(params), x)
        bounds = module.elbo(torch.from_numpy(x), torch.from_numpy(noise))
        bounds.mean().backward()
        theirs = {name: p.grad.numpy() for name, p in module.named_parameters()}
        np.testing.assert_allclose(mine, bounds.mean().item(), rtol=1e-12)
        expected = flatten(parity.convert(theirs, "vae", dtype=jnp.float64))
        for path, leaf in flatten(gradient).items():
            np.testing.assert_allclose(leaf, expected[path], rtol=1e-9, atol=1e-12)


def test_reconstruction_errors_are_pytorchs() -> None:
    module, x = twin("autoencoder"), np.random.default_rng(0).random((9, 12))
    params = parity.convert(state_of(module), "autoencoder")
    model = find_model("autoencoder").build(**CONFIGS["autoencoder"])
    with jax.enable_x64(True), torch.inference_mode():
        mine = jax.jit(model.reconstruction_error)(double(params), x)
        np.testing.assert_allclose(mine, module.double().reconstruction_error(torch.from_numpy(x)).numpy(), rtol=1e-12)


@pytest.mark.parametrize("kind", ["gan", pytest.param("dcgan", marks=pytest.mark.long)])
@pytest.mark.parametrize("saturating", [False, True])
def test_losses_gradients_and_running_statistics_are_pytorchs(kind: str, saturating: bool) -> None:
    names, weight = (f"{kind}-generator", f"{kind}-discriminator"), 1.7
    modules = [twin(name, seed) for seed, name in enumerate(names)]
    variables = [parity.convert(state_of(module), name) for module, name in zip(modules, names, strict=True)]
    networks = [find_model(name).build(**CONFIGS[name]) for name in names]
    latent, event_shape = (3, (12,)) if kind == "gan" else (5, (28, 28, 2))
    model = gan(
        event_shape, latent, generator=networks[0], discriminator=networks[1], weight=weight, saturating=saturating
    )
    rng = np.random.default_rng(0)
    x, z = rng.random((6, *event_shape)), rng.normal(size=(6, latent))
    with jax.enable_x64(True):
        parts = dict(zip(("generator", "discriminator"), map(double, variables), strict=True))
        params = {name: part["params"] for name, part in parts.items()}
        state = {name: {k: v for k, v in part.items() if k != "params"} for name, part in parts.items()}
        generator = jax.jit(jax.value_and_grad(model.generator_loss, has_aux=True))(params, state, z)
        discriminator = jax.jit(jax.value_and_grad(model.discriminator_loss, has_aux=True))(params, state, x, z)
        theirs = _torch_losses(modules, x, z, kind == "dcgan", weight, saturating)
        for (mine, after), (loss, states), part in (
            ((generator[0][0], generator), theirs["generator"], "generator"),
            ((discriminator[0][0], discriminator), theirs["discriminator"], "discriminator"),
        ):
            name = f"{kind}-{part}"
            np.testing.assert_allclose(mine, loss, rtol=1e-10)
            gradient, statistics = states
            # Converted as weights are, so that each lies where it belongs; statistics fill what has no gradient.
            expected = flatten(parity.convert({**statistics[part], **gradient}, name, dtype=jnp.float64))
            found = flatten({"params": after[1][part], **after[0][1][part]})
            for path in expected:
                if "num_batches_tracked" not in path:
                    np.testing.assert_allclose(found[path], expected[path], rtol=1e-7, atol=1e-10, err_msg=path)


def _torch_losses(
    modules: list[Any], x: np.ndarray, z: np.ndarray, images: bool, weight: float, saturating: bool
) -> dict[str, Any]:
    """Both losses with their own network's gradient, and both networks' statistics after it."""
    from torch.nn import functional

    events, latents = torch.from_numpy(x), torch.from_numpy(z)
    if images:
        events, latents = events.permute(0, 3, 1, 2), latents[..., None, None]
    start = [module.double().state_dict() for module in modules]
    start = [{name: tensor.clone() for name, tensor in state.items()} for state in start]
    found = {}
    for part, own in (("generator", modules[0]), ("discriminator", modules[1])):
        for module, state in zip(modules, start, strict=True):
            module.load_state_dict(state)
            module.zero_grad()
        made = modules[0](latents)
        if part == "generator":
            logits = modules[1](made)
            terms = -functional.softplus(logits) if saturating else functional.softplus(-logits)
            loss = weight * terms.mean()
        else:
            real, fake = modules[1](events), modules[1](made.detach())
            loss = functional.softplus(-real).mean() + weight * functional.softplus(fake).mean()
        loss.backward()
        gradient = {name: p.grad.numpy().copy() for name, p in own.named_parameters()}
        statistics = dict(zip(("generator", "discriminator"), map(state_of, modules), strict=True))
        found[part] = (loss.item(), (gradient, statistics))
    return found
