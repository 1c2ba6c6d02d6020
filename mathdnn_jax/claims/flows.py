"""Claims about flows built from several maps, and about the scaling at the end of one: F2, F4, F9, E15."""

from __future__ import annotations

import functools

import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.bijectors import Bijector, invert, scaling
from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.evidence import check_equal, seeds
from mathdnn_jax.claims.map_evidence import check_inverse, check_log_det, random_case, scales, with_jacobian
from mathdnn_jax.flows import Flow, glow, nice, real_nvp
from mathdnn_jax.testing.determinant import log_abs_det


@functools.cache
def _nice(dim: int) -> Flow:
    return nice(dim, width=4, depth=2, couplings=4)


@claim(
    "F2.log_det",
    "NICE: log|det ∂z/∂x| = Σ_i s_i for all shift networks",
    source="course 000, Q3; course 003, P3",
    dim=st.integers(2, 6),
    seed=seeds,
    scale=scales,
)
def nice_log_det(dim: int, seed: int, scale: float) -> None:
    """Compare the sum of the log-scales, and the reported log-det, with the full Jacobian's."""
    case = random_case(_nice(dim).bijector, (dim,), seed, scale)
    examined = check_log_det(*case)
    log_det = np.linalg.slogdet(examined.jacobian)[1]
    check_equal("Σ s", np.asarray(case.params["scaling"]["log_scale"]).sum(), log_det, examined.bound)


@claim(
    "F2.inverse",
    "NICE: g(f(x)) = x",
    source="course 000, Q3; course 003, P3",
    dim=st.integers(2, 6),
    seed=seeds,
    scale=scales,
)
def nice_inverse(dim: int, seed: int, scale: float) -> None:
    """Map an event to its image and back."""
    check_inverse(*random_case(_nice(dim).bijector, (dim,), seed, scale))


@functools.cache
def _scaling(dim: int) -> Bijector:
    return invert(scaling(dim))


@claim(
    "E15.reverse",
    "the reverse map of the scaling, x = exp(−s) ⊙ z, has the log-determinant +Σ_i s_i",
    source="course 000, Q3; erratum E15",
    verdict="refuted",
    log_scale=st.lists(st.integers(-4, 4).map(lambda halves: halves / 2), min_size=2, max_size=2),
)
def reverse_scaling(log_scale: list[float]) -> None:
    """Compare with the full Jacobian of the reverse map."""
    _, found, jacobian = with_jacobian(_scaling(2), {"log_scale": jnp.asarray(log_scale)}, jnp.ones(2))
    total, truth = sum(log_scale), log_abs_det(jacobian)[1]
    if abs(truth - total) > 1e-6 and abs(truth - found) < 1e-12:
        raise AssertionError(f"for s = {log_scale} it is {truth:.6g} = −Σ s, not {total:.6g}")


@functools.cache
def _image_flow(name: str) -> tuple[Flow, tuple[int, ...]]:
    """A small flow with the same kinds of parts as a large one, and the shape of its events."""
    if name == "real_nvp":
        return real_nvp((2, 4, 1), scales=2, couplings=1, width=3, depth=1), (2, 4, 1)
    if name == "glow":
        return glow((4, 4, 1), levels=2, steps=1, width=3, depth=1), (4, 4, 1)
    return glow((4, 4, 1), levels=2, steps=1, width=3, depth=1, mixing="conditional_plu"), (4, 4, 1)


def _check_density(name: str, seed: int, scale: float) -> None:
    made, event_shape = _image_flow(name)
    case = random_case(made.bijector, event_shape, seed, scale)
    case = case._replace(x=0.5 + 0.3 * jnp.tanh(case.x))
    check_log_det(*case)
    check_inverse(*case)


@claim(
    "F4.log_det",
    "RealNVP, including squeezing, factoring out and the logit: the log-det is the full Jacobian's, and g(f(x)) = x",
    source="course 002, P3",
    seed=seeds,
    scale=scales,
)
def real_nvp_log_det(seed: int, scale: float) -> None:
    """Compare with the full Jacobian of the whole composition, from pixels to one latent vector."""
    _check_density("real_nvp", seed, scale)


@claim(
    "F9.log_det",
    "Glow, with 1×1 convolutions or conditional PLU couplings: the log-det is the full Jacobian's, and g(f(x)) = x",
    source="course 000, Q4",
    name=st.sampled_from(["glow", "glow of conditional PLU couplings"]),
    seed=seeds,
    scale=scales,
)
def glow_log_det(name: str, seed: int, scale: float) -> None:
    """Compare with the full Jacobian of the whole composition, from pixels to one latent vector."""
    _check_density(name, seed, scale)
