"""Claims about PyTorch's default initialisation of linear layers: C7."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction

import hypothesis.strategies as st
import jax
import numpy as np

from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.evidence import EPS, check_equal, seeds
from mathdnn_jax.claims.network_evidence import stack
from mathdnn_jax.nets import MLP, Dense, torch_default_variance


def _linear(widths: Sequence[int]) -> MLP:
    return MLP(tuple(widths[1:]), activation=lambda a: a)


@claim(
    "C7.closed_form",
    "Var(y_ℓ) = (Var(y_{ℓ−1}) + 1/n_{ℓ−1})/3 for ℓ = 1, …, L gives Var(y_L) = 3^{−L} Var(y_0) + Σ_ℓ 3^{ℓ−L}/n_ℓ, "
    "summed over ℓ = 0, …, L − 1",
    source="course 001, P2",
    widths=st.lists(st.integers(1, 5000), min_size=2, max_size=12),
)
def closed_form(widths: Sequence[int]) -> None:
    """Add up the terms as fractions."""
    depth = len(widths) - 1
    exact = Fraction(1, 3**depth) + sum(Fraction(1, 3 ** (depth - k) * widths[k]) for k in range(depth))
    check_equal("Var(y_L)", torch_default_variance(widths)[-1], float(exact), 8 * EPS * depth * float(exact))


@claim(
    "C7.law",
    "with weights and biases from U(±1/√n_{ℓ−1}) and inputs of variance 1, every entry of y_ℓ has mean 0 and variance "
    "(Var(y_{ℓ−1}) + 1/n_{ℓ−1})/3",
    source="course 001, P2",
    widths=st.sampled_from([(1, 1), (4, 2), (1, 2, 1), (2, 2, 1), (3, 2, 1), (2, 1, 3), (1, 1, 1, 1), (1, 2, 2, 1)]),
)
def variance_law(widths: Sequence[int]) -> None:
    """Compute the expectations exactly, which works because y² has degree 2 in each drawn number.

    U(±a) has the first three moments 0, a²/3, 0, and so has ±a/√3 with equally likely signs. The expectation is
    therefore the mean over all choices of the signs, including those of the inputs.
    """
    layers = list(itertools.pairwise(widths))
    sizes = [widths[0]] + [size for n, m in layers for size in (n * m, m)]
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=sum(sizes))))
    x, *parts = np.split(signs, np.cumsum(sizes)[:-1], axis=1)
    params = {}
    for k, (n, m) in enumerate(layers):
        kernel, bias = (part / math.sqrt(3 * n) for part in parts[2 * k : 2 * k + 2])
        params[f"dense_{k}"] = {"kernel": kernel.reshape(-1, n, m), "bias": bias}
    y = np.asarray(jax.jit(jax.vmap(_linear(widths).apply))({"params": params}, x))
    bound = 64 * EPS * len(widths) * float(np.abs(y).max() ** 2 + 1)
    check_equal("mean", y.mean(0), np.zeros(widths[-1]), bound)
    law = torch_default_variance(widths)[-1]
    check_equal("variance", np.square(y).mean(0), np.full(widths[-1], law), bound)


OUTPUTS = 50_000
FALSE_ALARM = 1e-9
"""Probability, over the draw of the layer, that one example fails although the law holds."""


@claim(
    "C7.sampling",
    "given y_{ℓ−1}, the entries of y_ℓ are independent with mean 0 and variance (‖y_{ℓ−1}‖² + 1)/(3 n_{ℓ−1}), the mean "
    "of which over y_{ℓ−1} is (Var(y_{ℓ−1}) + 1/n_{ℓ−1})/3",
    source="course 001, P2",
    inputs=st.sampled_from([1, 2, 5, 40]),
    size=st.sampled_from([0.0, 0.3, 1.0]),
    flax=st.booleans(),
    seed=seeds,
)
def sampled_variance(inputs: int, size: float, flax: bool, seed: int) -> None:
    """Draw a layer of 50,000 outputs as the networks do, and test the mean m of the outputs and their mean square q.

    U(±a) is strictly sub-Gaussian, E exp(λ u) ≤ exp(λ² a²/6). So is an output z of variance v, and E exp(λ z²) ≤
    (1 − 2 λ v)^{−½}, E z⁴ ≤ 3 v². By Chernoff's bound, for N outputs, each of these events has a probability of at most
    e^{−t}: m > √(2 v t/N), m < −√(2 v t/N), q > v (1 + 2 √(t/N) + 2 t/N), q < v (1 − √(6 t/N)). With t = log(4 · 10⁹)
    one example is a false alarm with a probability of at most 10⁻⁹, and any of 25 examples with at most 2.5 · 10⁻⁸.
    """
    key, y = jax.random.key(seed), size * np.random.default_rng((seed, 1)).normal(size=inputs)
    network = _linear((inputs, OUTPUTS)) if flax else stack(Dense(OUTPUTS))
    (layer,) = jax.jit(network.init)(key, np.zeros((1, inputs), np.float32))["params"].values()
    z = y @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"], np.float64)
    variance = (np.square(y).sum() + 1) / (3 * inputs)
    t = math.log(4 / FALSE_ALARM) / OUTPUTS
    _check_sampled("mean", z.mean(), -math.sqrt(2 * variance * t), math.sqrt(2 * variance * t))
    least, greatest = 1 - math.sqrt(6 * t), 1 + 2 * math.sqrt(t) + 2 * t
    _check_sampled("mean square over the variance", np.square(z).mean() / variance, least, greatest)


def _check_sampled(what: str, found: float, least: float, greatest: float) -> None:
    """Check that a statistic is between two bounds, which allow for much more than the rounding of float32 draws."""
    if not least <= found <= greatest:
        raise AssertionError(
            f"{what} of {OUTPUTS:,} outputs: got {found:.6g}, expected {least:.6g} to {greatest:.6g}, except with "
            f"probability {FALSE_ALARM:g}"
        )
