"""The recipe of the generative adversarial network, whose two players alternate."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.generative import (
    GAN,
    dcgan_discriminator,
    dcgan_generator,
    dense_discriminator,
    dense_generator,
    gan,
)
from mathdnn_jax.recipes.images import channels_last, load_images, unit_pixels, with_events
from mathdnn_jax.recipes.measure import dtype_of, finite_mean, in_batches
from mathdnn_jax.recipes.recipe import Recipe, Sets, Settings, Task
from mathdnn_jax.training.update import Tree

PLAYERS = ("discriminator", "generator")
"""The networks in the order in which they are updated."""


def load(settings: Settings) -> Sets:
    """Load images, uint8, in the shape that the networks take: vectors if dense, (H, W, C) for the DCGAN."""
    sets = load_images(settings)
    return with_events(sets, _event_shape(settings, sets.image_shape))


def build(settings: Settings, image_shape: tuple[int, ...]) -> Task:
    """In every step the discriminator minimises its loss on data and fresh noise, then the generator minimises its own.

    The metrics are the mean of D's logits on the test images and on as many generated ones, and how often D tells them
    apart, which is 0.5 if it cannot.

    Source: course 000, Q5; Goodfellow et al., 2014, algorithm 1.
    """
    model = _model(settings, _event_shape(settings, image_shape))
    signed = settings["network"] == "dcgan"

    def pixels(images: jax.Array, dtype: Any) -> jax.Array:
        x = unit_pixels(images, dtype)
        return 2 * x - 1 if signed else x

    def discriminator_loss(params: Tree, state: Tree, batch: Tree, key: jax.Array) -> Any:
        dtype = dtype_of(params)
        z = model.sample_latent(key, batch.shape[:1], dtype)
        loss, state = model.discriminator_loss(params, state, pixels(batch, dtype), z)
        return loss, (state, {})

    def generator_loss(params: Tree, state: Tree, batch: Tree, key: jax.Array) -> Any:
        z = model.sample_latent(key, batch.shape[:1], dtype_of(params))
        loss, state = model.generator_loss(params, state, z)
        return loss, (state, {})

    def logits(params: Tree, state: Tree, batch: Tree, key: jax.Array) -> dict[str, jax.Array]:
        made = model.generate(params, state, model.sample_latent(key, batch.shape[:1]))
        real = model.discriminate(params, state, pixels(batch, jnp.float32))
        return {"real": real, "generated": model.discriminate(params, state, made)}

    measured = in_batches(logits)

    def evaluate(params: Tree, state: Tree, sets: Sets) -> dict[str, float]:
        found = measured(params, state, sets.test, jax.random.fold_in(jax.random.key(settings["seed"]), 1))
        return {
            "mean_logit_test": finite_mean(found["real"], "a logit"),
            "mean_logit_generated": finite_mean(found["generated"], "a logit"),
            "told_apart": float(((found["real"] > 0).mean() + (found["generated"] <= 0).mean()) / 2),
            "examples": len(sets.test),
        }

    generate = jax.jit(model.generate)

    def sample(params: Tree, state: Tree, key: jax.Array, count: int, temperature: float) -> np.ndarray:
        z = model.sample_latent(key, (count,))
        made = np.asarray(generate(params, state, jnp.asarray(temperature, z.dtype) * z))
        return ((made + 1) / 2 if signed else made).reshape(count, *image_shape)

    kind = "dcgan" if signed else "gan"
    return Task(
        init=lambda key, _: model.init(key),
        loss={"discriminator": discriminator_loss, "generator": generator_loss},
        evaluate=evaluate,
        sample=sample,
        variables=lambda params, state: {name: {"params": params[name], **state[name]} for name in PLAYERS},
        restore=_restore,
        torch={name: f"{kind}-{name}" for name in PLAYERS},
    )


def _restore(tree: Tree) -> tuple[Tree, Tree]:
    params = {name: tree[name]["params"] for name in PLAYERS}
    state = {name: {key: value for key, value in tree[name].items() if key != "params"} for name in PLAYERS}
    return params, state


def _event_shape(settings: Settings, image_shape: tuple[int, ...]) -> tuple[int, ...]:
    return channels_last(image_shape) if settings["network"] == "dcgan" else (math.prod(image_shape),)


def _model(settings: Settings, event_shape: tuple[int, ...]) -> GAN:
    if settings["network"] == "dcgan":
        generator = dcgan_generator(event_shape[-1], settings["width"])
        discriminator = dcgan_discriminator(settings["width"])
    else:
        generator = dense_generator(event_shape[0], settings["hidden"])
        discriminator = dense_discriminator(settings["hidden"][::-1])
    return gan(
        event_shape,
        settings["latent_dim"],
        generator=generator,
        discriminator=discriminator,
        weight=settings["weight"],
        saturating=settings["saturating"],
    )


ADVERSARIAL = Recipe(
    defaults={
        "network": "dense",
        "hidden": [256, 512],
        "width": 64,
        "latent_dim": 64,
        "weight": 1.0,
        "saturating": False,
        "epochs": 50,
        "learning_rate": 2e-4,
        "b1": 0.5,
        "validation": 0.0,
        "remainder": "drop",
    },
    load=load,
    build=build,
    # Padding would enter the statistics of the batch norms.
    choices={"network": ("dense", "dcgan"), "remainder": ("drop", "wrap")},
)
