"""Densities made of a bijector and a prior."""

from mathdnn_jax.flows.bits_per_dim import bits_per_dim
from mathdnn_jax.flows.flow import Flow, flow
from mathdnn_jax.flows.mixture_cdf_flow import mixture_cdf_flow, mixture_cdf_mass
from mathdnn_jax.flows.nice import nice

__all__ = ["Flow", "bits_per_dim", "flow", "mixture_cdf_flow", "mixture_cdf_mass", "nice"]
