"""Claims about affine couplings on any index set: F3."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import hypothesis.strategies as st
import numpy as np

from mathdnn_jax.bijectors import Bijector, affine_coupling
from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.evidence import EPS, check_equal, seeds
from mathdnn_jax.claims.map_evidence import Case, check_inverse, check_log_det, random_case, scales, with_jacobian
from mathdnn_jax.nets import MLP

Mask = tuple[bool, ...]

masks = st.lists(st.booleans(), min_size=2, max_size=6).filter(lambda mask: 0 < sum(mask) < len(mask)).map(tuple)


@functools.cache
def _coupling(mask: Mask) -> Bijector:
    return affine_coupling(MLP((4, 2 * (len(mask) - sum(mask))), nn.tanh), np.asarray(mask))


class _Parts(NamedTuple):
    """Ω and Ωᶜ in ascending order, and s(x_Ω) and t(x_Ω) with their Jacobians, computed without the library's map."""

    x: np.ndarray
    kept: np.ndarray
    moved: np.ndarray
    s: np.ndarray
    t: np.ndarray
    s_slope: np.ndarray
    t_slope: np.ndarray


def _case(mask: Sequence[bool], seed: int, scale: float) -> tuple[Case, _Parts]:
    case = random_case(_coupling(tuple(mask)), (len(mask),), seed, scale)
    x, kept, moved = np.asarray(case.x), np.flatnonzero(mask), np.flatnonzero(~np.asarray(mask))
    # The conditioner has a hidden layer with tanh, and returns first s, then t.
    first, second = ({name: np.asarray(leaf) for name, leaf in case.params[f"dense_{k}"].items()} for k in range(2))
    hidden = np.tanh(x[kept] @ first["kernel"] + first["bias"])
    s, t = np.split(hidden @ second["kernel"] + second["bias"], 2)
    slopes = second["kernel"].T @ np.diag(1 - np.square(hidden)) @ first["kernel"].T
    return case, _Parts(x, kept, moved, s, t, *np.split(slopes, 2))


@claim(
    "F3.log_det",
    "z_Ω = x_Ω, z_Ωᶜ = exp(s(x_Ω)) ⊙ x_Ωᶜ + t(x_Ω): log|det ∂z/∂x| = 1ᵀ s(x_Ω) for any Ω",
    source="course 002, P3",
    mask=masks,
    seed=seeds,
    scale=scales,
)
def coupling_log_det(mask: Sequence[bool], seed: int, scale: float) -> None:
    """Evaluate both formulas with the conditioner itself, and compare with the map and its full Jacobian."""
    case, parts = _case(mask, seed, scale)
    examined = check_log_det(*case)
    check_equal("1ᵀ s", parts.s.sum(), np.linalg.slogdet(examined.jacobian)[1], examined.bound)
    z = parts.x.copy()
    z[parts.moved] = np.exp(parts.s) * parts.x[parts.moved] + parts.t
    check_equal("z", examined.z, z, 64 * EPS * (1 + examined.z_units))
    check_equal("z_Ω", examined.z[parts.kept], parts.x[parts.kept], 0.0)


@claim(
    "F3.blocks",
    "P_σ (∂z/∂x) P_σᵀ = [[I, 0], [diag(exp(s) ⊙ x_Ωᶜ) ∂s/∂x_Ω + ∂t/∂x_Ω, diag exp(s)]] for the permutation σ that puts "
    "Ω first",
    source="course 002, P3",
    mask=masks,
    seed=seeds,
    scale=scales,
)
def coupling_blocks(mask: Sequence[bool], seed: int, scale: float) -> None:
    """Multiply the full Jacobian by the permutation matrix, and compare the four blocks with the formulas."""
    case, parts = _case(mask, seed, scale)
    jacobian = check_log_det(*case).jacobian
    sigma = np.eye(len(mask))[np.concatenate([parts.kept, parts.moved])]
    sorted_jacobian, count = sigma @ jacobian @ sigma.T, len(parts.kept)
    check_equal("block of Ω and Ω", sorted_jacobian[:count, :count], np.eye(count), 0.0)
    check_equal("block of Ω and Ωᶜ", sorted_jacobian[:count, count:], np.zeros((count, len(parts.moved))), 0.0)
    scale_of_moved = np.exp(parts.s)
    # tanh′ loses digits where tanh rounds to 1: the slopes of the conditioner are known to ε times their magnitudes.
    units = 64 * EPS * (1 + np.abs(parts.s).max() + np.abs(parts.t).max()) * (1 + scale_of_moved.max())
    below = (scale_of_moved * parts.x[parts.moved])[:, None] * parts.s_slope + parts.t_slope
    size = 1 + np.abs(parts.x).max() + np.abs(parts.s_slope).max() + np.abs(parts.t_slope).max()
    check_equal("block of Ωᶜ and Ω", sorted_jacobian[count:, :count], below, units * size**2)
    check_equal("block of Ωᶜ and Ωᶜ", sorted_jacobian[count:, count:], np.diag(scale_of_moved), units)


@claim(
    "F3.inverse",
    "the affine coupling is inverted by x_Ω = z_Ω, x_Ωᶜ = exp(−s(z_Ω)) ⊙ (z_Ωᶜ − t(z_Ω))",
    source="course 002, P3",
    mask=masks,
    seed=seeds,
    scale=scales,
)
def coupling_inverse(mask: Sequence[bool], seed: int, scale: float) -> None:
    """Map an event to its image and back, by the map's inverse and by the formula."""
    case, parts = _case(mask, seed, scale)
    bound = check_inverse(*case)
    z = np.asarray(with_jacobian(*case)[0])
    back = z.copy()
    back[parts.moved] = np.exp(-parts.s) * (z[parts.moved] - parts.t)
    check_equal("x by the formula", back, parts.x, bound)
