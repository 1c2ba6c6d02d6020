"""Densities, divergences and Monte Carlo estimates."""

from mathdnn_jax.probability.covariance import checked_covariance
from mathdnn_jax.probability.diagonal_gaussian import (
    diagonal_gaussian_kl,
    diagonal_gaussian_log_prob,
    diagonal_gaussian_sample,
)
from mathdnn_jax.probability.distribution import Distribution
from mathdnn_jax.probability.f_divergence import FDivergence, discriminator_value, f_divergence, optimal_discriminator
from mathdnn_jax.probability.gamblers_ruin import gamblers_ruin, gamblers_ruin_exact
from mathdnn_jax.probability.gaussian import gaussian_kl, gaussian_log_prob, gaussian_sample
from mathdnn_jax.probability.gradient_estimators import (
    GradientEstimate,
    reparameterized_gradient,
    score_function_gradient,
    score_function_surrogate,
)
from mathdnn_jax.probability.importance import ImportanceEstimate, importance_estimate, importance_sampling
from mathdnn_jax.probability.kl import kl_divergence
from mathdnn_jax.probability.logistic import logistic, logistic_log_density, logistic_sample
from mathdnn_jax.probability.normal import normal
from mathdnn_jax.probability.sine_problem import (
    SINE_OPTIMUM,
    sine_descent,
    sine_integrand,
    sine_log_prob,
    sine_objective,
    sine_penalty,
    sine_sample,
)
from mathdnn_jax.probability.smooth_max import smooth_max, smooth_max_gradient

__all__ = [
    "SINE_OPTIMUM",
    "Distribution",
    "FDivergence",
    "GradientEstimate",
    "ImportanceEstimate",
    "checked_covariance",
    "diagonal_gaussian_kl",
    "diagonal_gaussian_log_prob",
    "diagonal_gaussian_sample",
    "discriminator_value",
    "f_divergence",
    "gamblers_ruin",
    "gamblers_ruin_exact",
    "gaussian_kl",
    "gaussian_log_prob",
    "gaussian_sample",
    "importance_estimate",
    "importance_sampling",
    "kl_divergence",
    "logistic",
    "logistic_log_density",
    "logistic_sample",
    "normal",
    "optimal_discriminator",
    "reparameterized_gradient",
    "score_function_gradient",
    "score_function_surrogate",
    "sine_descent",
    "sine_integrand",
    "sine_log_prob",
    "sine_objective",
    "sine_penalty",
    "sine_sample",
    "smooth_max",
    "smooth_max_gradient",
]
