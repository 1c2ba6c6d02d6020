"""Normalizing flows: densities made of a bijector and a prior."""

from mathdnn_jax.flows.bits_per_dim import bits_per_dim
from mathdnn_jax.flows.flow import Flow, flow
from mathdnn_jax.flows.glow import glow
from mathdnn_jax.flows.mixture_cdf_flow import mixture_cdf_flow, mixture_cdf_mass
from mathdnn_jax.flows.nice import nice
from mathdnn_jax.flows.real_nvp import real_nvp

__all__ = ["Flow", "bits_per_dim", "flow", "glow", "mixture_cdf_flow", "mixture_cdf_mass", "nice", "real_nvp"]
