"""Steps of a VAE's and of a GAN's training, and the DCGAN's images."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import optax
import torch
from torch import nn
from torch.nn import functional

from benchmarks.frameworks import cuda, on_jax, on_torch
from benchmarks.frameworks.train_torch import TOLD, Objective, training_runs
from benchmarks.harness.workload import Case, Run, Settings, Workload
from benchmarks.workloads.networks import SEED, draw, inference_runs, size, uniform
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
from mathdnn_jax.training import fit
from parity import convert
from parity.reference import VAE, DCGANGenerator, DenseDiscriminator, DenseGenerator

DIM = 784
BATCH = 128
STEPS = 100
VAE_RATE, GAN_RATE, BETAS = 1e-3, 2e-4, (0.5, 0.999)
ROUGHLY = 0.1
"""How far the first losses may be apart, relatively: each framework draws noise of its own."""
PLAYERS = ("discriminator", "generator")
DISPATCH = "of one image: dispatch, and products of a matrix and a vector"
TRANSPOSED = "products with transposed weights and 128 rows, which XLA on a CPU does at half the rate of others"


def vae_cases(settings: Settings) -> Iterator[Case]:
    """Steps of Adam on −ELBO, one draw an image, by `fit` in one dispatch, the noise drawn in it."""
    for batch in settings.batches or ((4,) if settings.quick else (BATCH,)):
        yield _vae(batch, settings)


def gan_cases(settings: Settings) -> Iterator[Case]:
    """Steps of both players in turn, by `fit` in one dispatch, the noise drawn in it."""
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
        torch=inference_runs(module, [same], settings, read=lambda y: y.movedim(1, -1)),
        truth=truth,
        flops=None if flops is None else float(batch * flops),
        least_bytes=float(size(parts[0]) + latents.nbytes + 4 * batch * DIM),
        lowered=lambda: apply.lower(*parts, z),
    )


def _vae(batch: int, settings: Settings) -> Case:
    hidden, latent = (8, 3) if settings.quick else (400, 20)
    # PyTorch's own draw: with larger kernels the noise decides what the first losses are.
    state = on_torch.draw_state(lambda: VAE(DIM, hidden, latent), SEED)
    params = convert(state, "vae")
    params = on_jax.cast(params.get("params", params), "f32")
    model = vae((DIM,), latent, trunk=dense_trunk((hidden,)), decoder=dense_decoder(DIM, (hidden,)))
    images = uniform(_steps(settings) * batch, DIM)
    rows = on_torch.on_device(images)
    module = on_torch.module_with(lambda: VAE(DIM, hidden, latent), state)

    def loss(params: Any, rows: jax.Array, key: jax.Array) -> jax.Array:
        return -model.elbo(params, rows, key).mean()

    def minus_elbo(module: nn.Module, rows: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(len(rows), latent, device=rows.device)
        value: torch.Tensor = -module.elbo(rows, noise).mean()  # type: ignore[operator]
        return value

    products = DIM * hidden + 2 * hidden * latent + latent * hidden + hidden * DIM
    return Case(
        why=TRANSPOSED,
        label=f"batch {batch}",
        items=len(images),
        unit="images",
        jax=_fit_run(loss, params, None, images, batch, optax.adam(VAE_RATE)),
        torch=training_runs(
            Objective(module, minus_elbo).train(), VAE_RATE, lambda: rows.split(batch), settings, restart=True
        ),
        tolerance=ROUGHLY,
        flops=float(len(images) * (6 * products - 2 * DIM * hidden)),
        least_bytes=float(_steps(settings) * 6 * size(params)),
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
    ways = {
        "eager": _Players(modules, latent),
        "eager, fused Adam": _Players(modules, latent, fused=True),
    }
    if on_torch.device().type == "cpu":  # On a GPU that is the default.
        ways["eager, foreach Adam"] = _Players(modules, latent, foreach=True)
    for name, mode in on_torch.compile_modes(settings).items():
        players = _Players(modules, latent, fused=True)
        players.losses = {
            player: cuda.compile_in_mode(loss, mode, stand_in=settings.stand_in)
            for player, loss in players.losses.items()
        }
        ways[f"{name}, fused Adam"] = players
    if on_torch.has_graphs(settings):
        ways["CUDA graphs, fused Adam"] = _GraphPlayers(modules, latent, settings)
    products = {name: sum(a.size for a in states[name].values() if a.ndim == 2) for name in PLAYERS}
    return Case(
        why=TRANSPOSED,
        label=f"batch {batch}",
        items=len(images),
        unit="images",
        jax=_fit_run(losses, params, state, images, batch, optimizers),
        torch={name: players.run_of(rows.split(batch)) for name, players in ways.items()},
        tolerance=ROUGHLY,
        # D on data and on images, forward and backward; G once for D's step, and both forward and backward for G's.
        flops=float(len(images) * 2 * (8 * products["discriminator"] + 4 * products["generator"])),
        least_bytes=float(_steps(settings) * 6 * size(params)),
        targets={"best": 2.0},
    )


def _fit_run(loss: Any, params: Any, state: Any, images: np.ndarray, batch: int, optimizer: Any) -> Run:
    data, key = on_jax.on_device(images), jax.random.key(0)

    def run() -> np.ndarray:
        result = fit(loss, params, data, optimizer, epochs=1, batch_size=batch, key=key, state=state, shuffle=False)
        jax.block_until_ready(result.params)
        return result.history.loss[:TOLD]

    return run


class _Players:
    """PyTorch's two players with their optimisers; each run starts from the same weights."""

    def __init__(self, modules: dict[str, nn.Module], latent: int, **adam: Any) -> None:
        self.modules, self.latent = copy.deepcopy(modules), latent
        self.states = {name: copy.deepcopy(module.state_dict()) for name, module in self.modules.items()}
        self.optimizers = {
            name: torch.optim.Adam(module.train().parameters(), lr=GAN_RATE, betas=BETAS, **adam)
            for name, module in self.modules.items()
        }
        self.losses: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
            "discriminator": self.discriminator_loss,
            "generator": self.generator_loss,
        }

    def made(self, rows: torch.Tensor) -> torch.Tensor:
        images: torch.Tensor = self.modules["generator"](torch.randn(len(rows), self.latent, device=rows.device))
        return images

    def discriminator_loss(self, rows: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            made = self.made(rows)
        judge = self.modules["discriminator"]
        return functional.softplus(-judge(rows)).mean() + functional.softplus(judge(made)).mean()

    def generator_loss(self, rows: torch.Tensor) -> torch.Tensor:
        return functional.softplus(-self.modules["discriminator"](self.made(rows))).mean()

    def restart(self) -> None:
        """The first weights again, and optimisers that have seen nothing, in the memory where they lie."""
        for name, module in self.modules.items():
            module.load_state_dict(self.states[name])
            for state in self.optimizers[name].state.values():
                for tensor in state.values():
                    tensor.zero_()

    def step(self, rows: torch.Tensor) -> torch.Tensor:
        """A step of each player; returns the discriminator's loss before it."""
        told = {}
        for name, loss in self.losses.items():
            value = loss(rows)
            self.optimizers[name].zero_grad()
            value.backward()
            self.optimizers[name].step()
            told[name] = value.detach()
        return told["discriminator"]

    def run_of(self, batches: tuple[torch.Tensor, ...]) -> Run:
        def run() -> torch.Tensor:
            self.restart()
            losses = [self.step(rows) for rows in batches]
            return on_torch.finished(torch.stack(losses[:TOLD]))

        return run


class _GraphPlayers(_Players):
    """A step of both players, captured once as a CUDA graph and replayed."""

    replay: Callable[[], torch.Tensor] | None = None

    def __init__(self, modules: dict[str, nn.Module], latent: int, settings: Settings) -> None:
        # Only on a GPU can Adam count its steps in memory that a graph may change.
        adam = {} if settings.stand_in else {"capturable": True}
        super().__init__(modules, latent, fused=True, **adam)
        self.stand_in = settings.stand_in

    def step(self, rows: torch.Tensor) -> torch.Tensor:
        if self.replay is None:
            self.rows = rows.clone()
            self.replay = cuda.capture(lambda: super(_GraphPlayers, self).step(self.rows), stand_in=self.stand_in)
            self.restart()
        self.rows.copy_(rows)
        return self.replay().clone()


def _steps(settings: Settings) -> int:
    return TOLD if settings.quick else STEPS


VAE_STEP = Workload("vae-step", "steps of a VAE's training by mathdnn_jax.training.fit, noise included", vae_cases)
GAN_STEP = Workload("gan-step", "steps of a GAN's two players by mathdnn_jax.training.fit, noise included", gan_cases)
DCGAN = Workload("dcgan-sample", "images of 28 x 28 by the DCGAN's generator", dcgan_cases)
