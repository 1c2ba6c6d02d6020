"""Densities, divergences, and estimates by sampling."""

from mathdnn_jax.probability.covariance import checked_covariance
from mathdnn_jax.probability.diagonal_gaussian import (
    diagonal_gaussian_kl,
    diagonal_gaussian_log_prob,
    diagonal_gaussian_sample,
)
from mathdnn_jax.probability.distribution import Distribution
from mathdnn_jax.probability.gaussian import gaussian_kl, gaussian_log_prob, gaussian_sample
from mathdnn_jax.probability.gradient_estimators import (
    GradientEstimate,
    reparameterized_gradient,
    score_function_gradient,
    score_function_surrogate,
)
from mathdnn_jax.probability.kl import kl_divergence
from mathdnn_jax.probability.logistic import logistic, logistic_log_density, logistic_sample
from mathdnn_jax.probability.normal import normal
from mathdnn_jax.probability.sine_problem import (
    SINE_OPTIMUM,
    sine_integrand,
    sine_log_prob,
    sine_objective,
    sine_penalty,
    sine_sample,
)

__all__ = [
    "SINE_OPTIMUM",
    "Distribution",
    "GradientEstimate",
    "checked_covariance",
    "diagonal_gaussian_kl",
    "diagonal_gaussian_log_prob",
    "diagonal_gaussian_sample",
    "gaussian_kl",
    "gaussian_log_prob",
    "gaussian_sample",
    "kl_divergence",
    "logistic",
    "logistic_log_density",
    "logistic_sample",
    "normal",
    "reparameterized_gradient",
    "score_function_gradient",
    "score_function_surrogate",
    "sine_integrand",
    "sine_log_prob",
    "sine_objective",
    "sine_penalty",
    "sine_sample",
]
