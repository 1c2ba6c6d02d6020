"""The recipes by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.recipes.autoencoder import AUTOENCODER
from mathdnn_jax.recipes.gan import ADVERSARIAL
from mathdnn_jax.recipes.image_flows import GLOW, NICE, REAL_NVP
from mathdnn_jax.recipes.mixture_cdf import MIXTURE_CDF
from mathdnn_jax.recipes.recipe import Recipe
from mathdnn_jax.recipes.small_net import SMALL_NET
from mathdnn_jax.recipes.vae import VARIATIONAL_AUTOENCODER

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "nice": NICE,
        "real-nvp": REAL_NVP,
        "glow": GLOW,
        "mixture-cdf": MIXTURE_CDF,
        "vae": VARIATIONAL_AUTOENCODER,
        "gan": ADVERSARIAL,
        "autoencoder": AUTOENCODER,
        "small-net": SMALL_NET,
    }
)


def find_recipe(name: str) -> Recipe:
    """Look up a recipe by the name of its model.

    Returns:
        The recipe.

    Raises:
        ConfigurationError: the name is unknown.
    """
    if name not in RECIPES:
        raise ConfigurationError(f"there is no recipe for {name!r}; known: {', '.join(RECIPES)}")
    return RECIPES[name]
