"""Densities made of a bijector and a prior."""

from mathdnn_jax.flows.flow import Flow, flow
from mathdnn_jax.flows.nice import nice

__all__ = ["Flow", "flow", "nice"]
