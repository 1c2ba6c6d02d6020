"""Training steps of a VAE and of a GAN, and images of a DCGAN."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
import optax
import torch
from torch import nn
from torch.nn import functional

from benchmarks.case import COMPARED_STEPS, Case, Settings, Workload, check_least_batch
from benchmarks.frameworks import on_jax, on_torch
from benchmarks.frameworks.train_jax import fit_contender
from benchmarks.frameworks.train_torch import Objective, training_baselines
from benchmarks.workloads.networks import SEED, draw, network_baselines, size, uniform
from benchmarks.workloads.training import Training, epoch_in_order
from mathdnn_jax.generative import (
    dcgan_discriminator,
    dcgan_generator,
    dense_decoder,
    dense_discriminator,
    dense_generator,
    dense_trunk,
    gan,
    vae,
)
from mathdnn_jax.nets import Sequential
from mathdnn_jax.surgery import count_operations
from parity import convert
from parity.reference import VAE, DCGANGenerator, DenseDiscriminator, DenseGenerator

DIM = 784
BATCH = 128
STEPS = 100
GAN_RATE, BETAS = 2e-4, (0.5, 0.999)
ROUGHLY = 0.1
"""How far the first losses may differ, relatively: each framework draws its own noise."""
PLAYERS = ("discriminator", "generator")
DISPATCH = "a single image takes little more than dispatch, and products of a matrix and a vector"
TRANSPOSED = "products with transposed weights and 128 rows, which XLA on a CPU does at half the usual rate"


def vae_cases(settings: Settings) -> Iterator[Case]:
    """Steps of Adam on −ELBO with one draw per image, by `fit` in one dispatch, including the noise."""
    for batch in settings.batches or ((4,) if settings.quick else (BATCH,)):
        yield _vae(batch, settings)


def gan_cases(settings: Settings) -> Iterator[Case]:
    """Steps of both players in turn, by `fit` in one dispatch, including the noise."""
    check_least_batch(settings, 2, "a batch norm in training mode needs the variance of several images")
    for batch in settings.batches or ((4,) if settings.quick else (BATCH,)):
        yield _gan(batch, settings)


def dcgan_cases(settings: Settings) -> Iterator[Case]:
    """Images of given latents, batch norms in eval mode."""
    width = 2 if settings.quick else 64
    state = draw(lambda: DCGANGenerator(width=width))
    variables = convert(state, "dcgan-generator")
    parts = on_jax.cast({"generator": variables["params"]}, "f32"), on_jax.cast(_stats(variables), "f32")
    model = gan((28, 28, 1), generator=dcgan_generator(1, width), discriminator=dcgan_discriminator(width))
    module = on_torch.module_with(lambda: DCGANGenerator(width=width), state)
    for batch in settings.batches or ((2,) if settings.quick else (1, 64, 256)):
        yield _dcgan(model.generate, parts, module, dcgan_generator(1, width), batch, settings)


def _stats(variables: Any) -> dict[str, Any]:
    return {"generator": {"batch_stats": variables["batch_stats"]} if "batch_stats" in variables else {}}


def _dcgan(
    generate: Callable[..., jax.Array],
    parts: tuple[Any, Any],
    module: nn.Module,
    network: Any,
    batch: int,
    settings: Settings,
) -> Case:
    latents = 2 * uniform(batch, 64) - 1
    z, same = on_jax.on_device(latents), on_torch.on_device(latents[:, :, None, None])
    apply = jax.jit(generate)

    def truth() -> np.ndarray:
        with torch.inference_mode():
            made = copy.deepcopy(module).double()(same.double())
        values: np.ndarray = made.movedim(1, -1).cpu().numpy()
        return values

    flops = count_operations(network, (1, 1, 64)).operations if isinstance(network, Sequential) else None
    return Case(
        why=DISPATCH,
        label=f"batch {batch}",
        items=batch,
        unit="images",
        jax=lambda: apply(*parts, z).block_until_ready(),
        torch=network_baselines(module, [same], settings, read=lambda y: y.movedim(1, -1)),
        truth=truth,
        flops=None if flops is None else float(batch * flops),
        least_bytes=float(size(parts[0]) + latents.nbytes + 4 * batch * DIM),
        lowered=lambda: apply.lower(*parts, z),
    )


def _vae(batch: int, settings: Settings) -> Case:
    hidden, latent = (8, 3) if settings.quick else (400, 20)
    # Kernels as PyTorch draws them: with larger ones, the noise would determine the first losses.
    state = on_torch.draw_state(lambda: VAE(DIM, hidden, latent), SEED)
    params = convert(state, "vae")
    params = on_jax.cast(params.get("params", params), "f32")
    model = vae((DIM,), latent, trunk=dense_trunk((hidden,)), decoder=dense_decoder(DIM, (hidden,)))
    module = on_torch.module_with(lambda: VAE(DIM, hidden, latent), state)

    def loss(params: Any, rows: jax.Array, key: jax.Array) -> jax.Array:
        return -model.elbo(params, rows, key).mean()

    def minus_elbo(module: nn.Module, rows: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(len(rows), latent, device=rows.device)
        value: torch.Tensor = -module.elbo(rows, noise).mean()  # type: ignore[operator]
        return value

    products = DIM * hidden + 2 * hidden * latent + latent * hidden + hidden * DIM
    steps = _steps(settings)
    work = Training(params, loss, Objective(module, minus_elbo).train(), lambda count: uniform(count, DIM))
    return epoch_in_order(work, batch, steps, settings, loop=False)._replace(
        why=TRANSPOSED,
        tolerance=ROUGHLY,
        flops=float(steps * batch * (6 * products - 2 * DIM * hidden)),
        least_bytes=float(steps * 6 * size(params)),
        targets={"best": 2.0},
    )


def _gan(batch: int, settings: Settings) -> Case:
    latent, hidden = 64, (8, 16) if settings.quick else (256, 512)
    states = {
        "generator": draw(lambda: DenseGenerator(latent, hidden, DIM)),
        "discriminator": draw(lambda: DenseDiscriminator(DIM, hidden[::-1])),
    }
    variables = {name: on_jax.cast(convert(states[name], f"gan-{name}"), "f32") for name in PLAYERS}
    params = {name: tree["params"] for name, tree in variables.items()}
    state = {name: {key: value for key, value in tree.items() if key != "params"} for name, tree in variables.items()}
    model = gan((DIM,), latent, generator=dense_generator(DIM, hidden), discriminator=dense_discriminator(hidden[::-1]))
    images = uniform(_steps(settings) * batch, DIM)
    rows = on_torch.on_device(images)

    def discriminator_loss(params: Any, state: Any, rows: jax.Array, key: jax.Array) -> Any:
        value, state = model.discriminator_loss(params, state, rows, model.sample_latent(key, rows.shape[:1]))
        return value, (state, {})

    def generator_loss(params: Any, state: Any, rows: jax.Array, key: jax.Array) -> Any:
        value, state = model.generator_loss(params, state, model.sample_latent(key, rows.shape[:1]))
        return value, (state, {})

    losses = {"discriminator": discriminator_loss, "generator": generator_loss}
    optimizers = {name: optax.adam(GAN_RATE, *BETAS) for name in PLAYERS}
    modules = {
        "generator": on_torch.module_with(lambda: DenseGenerator(latent, hidden, DIM), states["generator"]),
        "discriminator": on_torch.module_with(lambda: DenseDiscriminator(DIM, hidden[::-1]), states["discriminator"]),
    }
    products = {name: sum(a.size for a in states[name].values() if a.ndim == 2) for name in PLAYERS}
    return Case(
        why=TRANSPOSED,
        label=f"batch {batch}",
        items=len(images),
        unit="images",
        jax=fit_contender(losses, params, on_jax.on_device(images), optimizers, settings, batch=batch, state=state),
        torch=training_baselines(
            gan_objectives(modules, latent), GAN_RATE, lambda: rows.split(batch), settings, restart=True, betas=BETAS
        ),
        tolerance=ROUGHLY,
        # D's step: D on data and on images, forward and backward, and G forward. G's step: both, forward and backward.
        flops=float(len(images) * 2 * (8 * products["discriminator"] + 4 * products["generator"])),
        least_bytes=float(_steps(settings) * 6 * size(params)),
        targets={"best": 2.0},
    )


def gan_objectives(modules: Mapping[str, nn.Module], latent: int) -> dict[str, Objective]:
    """Return the objective of each player in PyTorch, by the non-saturating losses; noise is drawn in each of them."""
    networks = nn.ModuleDict(modules)

    def generated(networks: Any, rows: torch.Tensor) -> torch.Tensor:
        images: torch.Tensor = networks["generator"](torch.randn(len(rows), latent, device=rows.device))
        return images

    def discriminator_loss(networks: Any, rows: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            images = generated(networks, rows)
        discriminator = networks["discriminator"]
        return functional.softplus(-discriminator(rows)).mean() + functional.softplus(discriminator(images)).mean()

    def generator_loss(networks: Any, rows: torch.Tensor) -> torch.Tensor:
        return functional.softplus(-networks["discriminator"](generated(networks, rows))).mean()

    losses = {"discriminator": discriminator_loss, "generator": generator_loss}
    return {name: Objective(networks, loss, networks[name]).train() for name, loss in losses.items()}


def _steps(settings: Settings) -> int:
    return COMPARED_STEPS if settings.quick else STEPS


VAE_STEP = Workload("vae-step", "training steps of a VAE by fit, including the noise", vae_cases)
GAN_STEP = Workload("gan-step", "training steps of both players of a GAN by fit, including the noise", gan_cases)
DCGAN = Workload("dcgan-sample", "images of 28 x 28 by the generator of the DCGAN", dcgan_cases)
