"""The recipe of the variational autoencoder."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.generative import dense_decoder, dense_trunk, vae
from mathdnn_jax.recipes.images import GREATEST, load_images, unit_pixels, with_events
from mathdnn_jax.recipes.maximum_likelihood import log_likelihood
from mathdnn_jax.recipes.measure import dtype_of, finite_mean, in_batches
from mathdnn_jax.recipes.recipe import NOTHING, Recipe, Sets, Settings, Task
from mathdnn_jax.training.update import Tree


def load(settings: Settings) -> Sets:
    """Load images as vectors, uint8.

    With `binarize`, every pixel is black or white, drawn once with its grey value as the probability of white.
    """
    sets = load_images(settings)
    sets = with_events(sets, (math.prod(sets.image_shape),))
    if not settings["binarize"]:
        return sets
    rng = np.random.default_rng([settings["seed"], 1])

    def binary(images: np.ndarray | None) -> np.ndarray | None:
        if images is None:
            return None
        white = rng.random(images.shape, np.float32) * GREATEST < images
        return np.where(white, GREATEST, 0).astype(np.uint8)

    return sets._replace(training=binary(sets.training), validation=binary(sets.validation), test=binary(sets.test))


def build(settings: Settings, image_shape: tuple[int, ...]) -> Task:
    """Minimise −mean ELBO in nats, with one reparameterised draw per image and the KL divergence in closed form.

    The metrics on the test images, in nats, are the mean ELBO and the mean importance-weighted bound with
    `importance_samples` draws, which lies between the ELBO and log p.

    Raises:
        ConfigurationError: `variance` or `importance_samples` is not positive.

    Source: course 000, Q6; Burda, Grosse, Salakhutdinov, "Importance weighted autoencoders", 2015.
    """
    if settings["importance_samples"] < 1 or not settings["variance"] > 0:
        raise ConfigurationError(
            f"a variational autoencoder needs importance_samples of at least 1 and a positive variance, given "
            f"importance_samples={settings['importance_samples']}, variance={settings['variance']}"
        )
    dim, hidden = math.prod(image_shape), settings["hidden"]
    model = vae(
        (dim,),
        settings["latent_dim"],
        trunk=dense_trunk((hidden,)),
        decoder=dense_decoder(dim, (hidden,)),
        likelihood=settings["likelihood"],
        variance=settings["variance"],
        train_variance=settings["train_variance"],
        prior=settings["prior"],
    )

    def elbo(params: Tree, batch: Tree, key: jax.Array) -> jax.Array:
        return model.elbo(params, unit_pixels(batch, dtype_of(params)), key)

    def bounds(params: Tree, state: Tree, batch: Tree, key: jax.Array) -> dict[str, jax.Array]:
        del state
        first, second = jax.random.split(key)
        x = unit_pixels(batch, dtype_of(params))
        bound = model.log_marginal(params, x, second, samples=settings["importance_samples"])
        return {"elbo": elbo(params, batch, first), "importance": bound}

    noise = jax.random.fold_in(jax.random.key(settings["seed"]), 1)
    lower_bound, measured_bounds = log_likelihood(elbo, "the ELBO", noise), in_batches(bounds)

    def evaluate(params: Tree, state: Tree, sets: Sets) -> dict[str, float]:
        found = measured_bounds(params, state, sets.test, noise)
        return {
            "elbo_nats": finite_mean(found["elbo"], "the ELBO"),
            "importance_weighted_bound_nats": finite_mean(found["importance"], "the importance-weighted bound"),
            "importance_samples": settings["importance_samples"],
            "examples": len(sets.test),
        }

    def sample(params: Tree, state: Tree, key: jax.Array, count: int, temperature: float) -> np.ndarray:
        del state
        z = model.sample_latent(params, key, (count,))
        centre = params["prior"]["mean"] if "prior" in params else jnp.zeros_like(z[0])
        z = centre + jnp.asarray(temperature, z.dtype) * (z - centre)
        return np.asarray(model.decode(params, z)).reshape(count, *image_shape)

    def reconstruct(params: Tree, state: Tree, images: np.ndarray) -> np.ndarray:
        del state
        mean, _ = model.encode(params, unit_pixels(jnp.asarray(images), jnp.float32))
        return np.asarray(model.decode(params, mean))

    return Task(
        init=lambda key, _: (model.init(key), None),
        loss=lower_bound.loss,
        validate=lower_bound.validate,
        evaluate=evaluate,
        sample=sample,
        reconstruct=reconstruct,
        torch={"": "vae"} if settings["likelihood"] == "bernoulli" else NOTHING,
    )


VARIATIONAL_AUTOENCODER = Recipe(
    defaults={
        "hidden": 400,
        "latent_dim": 20,
        "likelihood": "bernoulli",
        "variance": 1.0,
        "train_variance": False,
        "prior": "trainable",
        "binarize": False,
        "importance_samples": 100,
        "epochs": 20,
    },
    load=load,
    build=build,
    choices={"likelihood": ("bernoulli", "gaussian"), "prior": ("trainable", "standard")},
)
