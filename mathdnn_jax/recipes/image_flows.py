"""The recipes of flows on images, trained by maximum likelihood: NICE, RealNVP, Glow."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from mathdnn_jax.bijectors import dequantize
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.flows import Flow, bits_per_dim, glow, nice, real_nvp
from mathdnn_jax.recipes.images import LEVELS, channels_last, load_images, to_levels, with_events
from mathdnn_jax.recipes.maximum_likelihood import log_likelihood, sampler
from mathdnn_jax.recipes.recipe import NOTHING, Recipe, Sets, Settings, Task, Value
from mathdnn_jax.training.update import Tree

Build = Callable[[Settings, tuple[int, ...]], Flow]


def _vector(image_shape: tuple[int, ...]) -> tuple[int, ...]:
    return (math.prod(image_shape),)


def flow_task(flow: Flow, event_shape: tuple[int, ...], image_shape: tuple[int, ...], levels: int, seed: int) -> Task:
    """Minimise −mean log p(y) in nats, where y are the images, dequantised afresh in every step.

    The metrics are the mean log p(y) of the test images, dequantised once, in nats, and the same in bits per dimension.

    Source: Dinh, Krueger, Bengio, "NICE", 2014, section 5; Theis, van den Oord, Bethge, 2016, for the dequantisation.
    """

    def log_prob(params: Tree, images: jax.Array, key: jax.Array) -> jax.Array:
        y, _ = dequantize(key, images, levels, event_ndims=len(event_shape))
        return flow.log_prob(params, y)

    def init(key: jax.Array, batch: Tree) -> tuple[Tree, Tree]:
        first, second = jax.random.split(key)
        if batch is None:
            return flow.init(first), None
        y, _ = dequantize(second, batch, levels, event_ndims=len(event_shape))
        return flow.init_from_data(flow.init(first), y), None

    density = log_likelihood(log_prob, "log p", jax.random.fold_in(jax.random.key(seed), 1))

    def evaluate(params: Tree, state: Tree, sets: Sets) -> dict[str, float]:
        del state
        nats = density.mean(params, sets.test)
        bits = bits_per_dim(np.float64(nats), event_shape, levels)  # type: ignore[arg-type]
        return {"log_likelihood_nats": nats, "bits_per_dim": float(bits), "examples": len(sets.test)}

    sample = sampler(flow, image_shape)
    return Task(init=init, loss=density.loss, validate=density.validate, evaluate=evaluate, sample=sample)


def _recipe(
    build: Build,
    as_event: Callable[[tuple[int, ...]], tuple[int, ...]],
    defaults: dict[str, Any],
    torch: dict[str, str] | None = None,
    by_data: Mapping[str, Mapping[str, Value]] = NOTHING,
    **choices: tuple[str, ...],
) -> Recipe:
    def load(settings: Settings) -> Sets:
        sets = load_images(settings)
        sets = with_events(sets, as_event(sets.image_shape))
        training, validation, test = (
            None if images is None else to_levels(images, settings["levels"])
            for images in (sets.training, sets.validation, sets.test)
        )
        return sets._replace(training=training, validation=validation, test=test)

    def make(settings: Settings, image_shape: tuple[int, ...]) -> Task:
        levels, event_shape = settings["levels"], as_event(image_shape)
        if not 2 <= levels <= 256:
            raise ConfigurationError(f"pixels must have 2 to 256 levels, given levels={levels}")
        task = flow_task(build(settings, event_shape), event_shape, image_shape, levels, settings["seed"])
        return task._replace(torch=torch or NOTHING)

    return Recipe(
        defaults={"levels": 256, **defaults},
        load=load,
        build=make,
        choices={"precision": ("float32",), **choices},
        by_data={"levels": LEVELS, **by_data},
    )


SMALL_WIDTH = 100
"""The width of NICE for images of 8 × 8 pixels, as wide in proportion as the paper's for 28 × 28."""


def _build_nice(settings: Settings, event_shape: tuple[int, ...]) -> Flow:
    return nice(event_shape[0], settings["width"], settings["depth"], settings["couplings"])


def _build_real_nvp(settings: Settings, event_shape: tuple[int, ...]) -> Flow:
    names = ("scales", "couplings", "width", "depth", "alpha", "prior")
    return real_nvp(event_shape, **{name: settings[name] for name in names})


def _build_glow(settings: Settings, event_shape: tuple[int, ...]) -> Flow:
    names = ("scales", "steps", "width", "depth", "mixing", "alpha", "prior")
    scales, *rest = (settings[name] for name in names)
    return glow(event_shape, levels=scales, **dict(zip(names[1:], rest, strict=True)))


NICE = _recipe(
    _build_nice,
    _vector,
    # The network of the paper and its optimiser; the paper's β₂ = 0.01 is the weight of the newest square.
    {"width": 1000, "depth": 5, "couplings": 4, "epochs": 100, "batch_size": 200, "b2": 0.99, "eps": 1e-4},
    {"": "nice"},
    by_data={"width": dict.fromkeys(LEVELS, SMALL_WIDTH)},
)
_IMAGE = {"width": 64, "depth": 2, "alpha": 0.05, "prior": "normal", "epochs": 50, "clip_norm": 100.0}
_PRIORS = ("normal", "logistic")
REAL_NVP = _recipe(_build_real_nvp, channels_last, {"scales": 2, "couplings": 3, **_IMAGE}, prior=_PRIORS)
GLOW = _recipe(
    _build_glow,
    channels_last,
    {"scales": 2, "steps": 4, "mixing": "plu", **_IMAGE},
    prior=_PRIORS,
    mixing=("plu", "conditional_plu"),
)
