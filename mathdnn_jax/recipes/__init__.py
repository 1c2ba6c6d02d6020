"""Recipes: how each family of models is trained, evaluated and sampled, with sensible default settings."""

from mathdnn_jax.recipes.mixture_cdf import three_gaussians
from mathdnn_jax.recipes.recipe import Recipe, Sets, Task
from mathdnn_jax.recipes.registry import RECIPES, find_recipe
from mathdnn_jax.recipes.settings import known_settings, parse_assignments, read_config, resolve
from mathdnn_jax.recipes.train import train, trained

__all__ = [
    "RECIPES",
    "Recipe",
    "Sets",
    "Task",
    "find_recipe",
    "known_settings",
    "parse_assignments",
    "read_config",
    "resolve",
    "three_gaussians",
    "train",
    "trained",
]
