"""Densities and sampling."""

from mathdnn_jax.probability.distribution import Distribution
from mathdnn_jax.probability.logistic import logistic, logistic_log_density, logistic_sample
from mathdnn_jax.probability.normal import normal

__all__ = ["Distribution", "logistic", "logistic_log_density", "logistic_sample", "normal"]
