"""Claims about a batch norm that follows an activation, and about its sign-bias form: C3."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.evidence import EPS, check_equal, seeds
from mathdnn_jax.claims.network_evidence import (
    Variables,
    check_same,
    evaluate,
    random_events,
    random_variables,
)
from mathdnn_jax.nets import Activation, Gelu, LeakyRelu, Relu, Sequential, Sigmoid, Tanh, conv_relu_bn
from mathdnn_jax.surgery import remove_batch_norm, to_sign_bias

EVENT = (5, 4, 2)

sign_lists = st.lists(st.sampled_from([1.0, -1.0, 0.0]), min_size=1, max_size=4)
"""The signs of γ, one for each channel."""

slopes = st.integers(-24, 24).map(lambda eighths: eighths / 8)
"""Multiples of ⅛, so that no product underflows."""

few_seeds = st.integers(0, 9)
"""For cases that hypothesis shrinks, in which it would try many seeds in vain."""


@dataclass(frozen=True)
class Homogeneous(Activation):
    """σ(x) = x σ(1) for x > 0 and −x σ(−1) for x < 0, the general positively homogeneous function of one number."""

    at_one: float
    at_minus_one: float

    @property
    def homogeneous(self) -> bool:
        """True, by construction."""
        return True

    def function(self, x: jax.Array) -> jax.Array:
        """σ(x), with one slope on each side of 0."""
        return jnp.where(x > 0, self.at_one * x, -self.at_minus_one * x)


def _network(activation: Activation, signs: Sequence[float], seed: int) -> tuple[Sequential, Variables]:
    network = conv_relu_bn(len(signs), 3, activation=activation)
    variables = random_variables(network, EVENT, seed)
    gamma = np.exp(np.random.default_rng((seed, 2)).normal(size=len(signs))) * np.asarray(signs)
    variables["params"]["bn"]["scale"] = jnp.asarray(gamma)
    return network, variables


def _check_sign_bias(activation: Activation, signs: Sequence[float], seed: int) -> None:
    network, variables = _network(activation, signs, seed)
    changed, new, _ = to_sign_bias(network, variables)
    kinds = [layer.kind for _, layer in changed.layers]
    if kinds != ["Conv", activation.kind, "SignBias"]:
        raise AssertionError(f"got layers {kinds}")
    conv, norm, statistics = variables["params"]["conv"], variables["params"]["bn"], variables["batch_stats"]["bn"]
    gamma = np.asarray(norm["scale"])
    deviation = np.sqrt(np.asarray(statistics["var"]) + 1e-5)
    shift = gamma * np.asarray(statistics["mean"]) / deviation
    check_equal("S", np.asarray(new["params"]["bn"]["sign"]), np.where(gamma < 0, -1.0, 1.0), np.zeros_like(gamma))
    bound = 8 * EPS * (np.abs(shift) + np.abs(norm["bias"]))
    check_equal("B", np.asarray(new["params"]["bn"]["bias"]), np.asarray(norm["bias"]) - shift, bound)
    for name, said in (("kernel", "w̃"), ("bias", "b̃")):
        wanted = np.abs(gamma) / deviation * np.asarray(conv[name])
        check_equal(said, np.asarray(new["params"]["conv"][name]), wanted, 8 * EPS * np.abs(wanted))
    check_same("sign-bias form against Conv-σ-BN", (changed, new), (network, variables), EVENT, seed)


@claim(
    "C3.sign_bias",
    "BN(ReLU(w x + b)) = S ⊙ ReLU(w̃ x + b̃) ⊕ B with S = sign γ (+1 for γ = 0), w̃ = |γ|/√(σ²+ε) w, b̃ = |γ|/√(σ²+ε) b, "
    "B = β − γ μ/√(σ²+ε)",
    source="course 000, Q1(b)",
    signs=sign_lists,
    seed=seeds,
)
def relu_sign_bias(signs: Sequence[float], seed: int) -> None:
    """Compare the arrays with the formulas, and the outputs."""
    _check_sign_bias(Relu(), signs, seed)


@claim(
    "C3.leaky_relu",
    "the sign-bias form also holds for leaky ReLU of any slope",
    source="course 000, Q1(c)",
    slope=slopes,
    signs=sign_lists,
    seed=seeds,
)
def leaky_relu_sign_bias(slope: float, signs: Sequence[float], seed: int) -> None:
    """Compare the arrays with the formulas, and the outputs."""
    _check_sign_bias(LeakyRelu(slope), signs, seed)


@claim(
    "C3.homogeneous",
    "the sign-bias form holds for every σ with σ(a x) = a σ(x) for all a > 0, that is, with one slope for x > 0 and "
    "one for x < 0",
    source="course 000, Q1(c)",
    at_one=slopes,
    at_minus_one=slopes,
    signs=sign_lists,
    seed=seeds,
)
def homogeneous_sign_bias(at_one: float, at_minus_one: float, signs: Sequence[float], seed: int) -> None:
    """Compare the arrays with the formulas, and the outputs."""
    _check_sign_bias(Homogeneous(at_one, at_minus_one), signs, seed)


@claim(
    "C3.relu_alone",
    "BN(ReLU(w x + b)) = ReLU(w̃ x + b̃) for some w̃ and b̃",
    source="course 000, Q1(a)",
    verdict="refuted",
    beta=st.integers(-2, 2),
    mean=st.integers(-2, 2),
    gamma=st.integers(-2, 2),
    seed=few_seeds,
)
def relu_alone(beta: int, mean: int, gamma: int, seed: int) -> None:
    """Look for a negative output, which no ReLU has, whatever w̃ and b̃ are."""
    network, variables = _one_channel(Relu(), gamma, seed, beta, mean)
    least = evaluate(network, variables, random_events(EVENT, seed)).min()
    if least < -1e-3:
        raise AssertionError(
            f"for γ = {gamma}, β = {beta}, μ = {mean}, σ² = 1 an output is {least:.6g}, but ReLU(w̃ x + b̃) ≥ 0"
        )


@claim(
    "C3.any_activation",
    "BN(σ(w x + b)) = S ⊙ σ(w̃ x + b̃) ⊕ B for some S ∈ {−1, +1}, w̃, b̃ and B also if σ is one of tanh, sigmoid and GELU, "
    "which are not positively homogeneous",
    source="course 000, Q1(c)",
    verdict="refuted",
    gamma=st.integers(-4, 4),
    seed=few_seeds,
)
def any_activation_sign_bias(gamma: int, seed: int) -> None:
    """Follow BN(σ(w x + b)) along a ray of inputs, and compare with what no S, w̃, b̃ and B can exceed.

    Along a ray w x + b is an affine function u of one number, and so is w̃ x + b̃. The range of S σ(ũ) + B is no wider
    than σ's: 2 for tanh, 1 for the sigmoid. GELU's range is not bounded, but GELU falls by m = 0.17 and then rises
    forever: at three points in a row S σ(ũ) + B cannot fall by more than m from the first to the second, and also rise
    by more than m from the first to the third, in either direction and with either sign. If it is off by at most d at
    each point, then these quantities are off by at most 2 d.
    """
    found = []
    for activation, limit in ((Tanh(), 2.0), (Sigmoid(), 1.0), (Gelu(), GELU_DEPTH)):
        y = _along_a_ray(*_one_channel(activation, gamma, seed))
        given, said = (
            (fall_and_rise(y), "falls and rises by") if activation == Gelu() else (np.ptp(y), "has a range of width")
        )
        if given <= limit + 0.01:
            return
        found.append(
            f"for {activation.kind} it {said} {given:.6g}, S σ(w̃ x + b̃) + B at most {limit:.6g}, and so is off by "
            f"{(given - limit) / 2:.6g} or more somewhere"
        )
    raise AssertionError(f"with γ = {gamma}, σ² = 1, " + "; ".join(found))


GELU_DEPTH = 0.16997120747990369
"""−min GELU."""


def fall_and_rise(y: np.ndarray) -> float:
    """The greatest r such that three values in a row fall by r and rise by r, or rise and fall, relative to the first.

    For S σ(ũ) + B with σ = GELU it is at most GELU_DEPTH.
    """
    greatest = 0.0
    for values in (y, -y, y[::-1], -y[::-1]):
        # From the first place, the deepest fall to a second place after which the value still rises.
        after = np.maximum.accumulate(values[::-1])[::-1]
        for first in range(len(values) - 2):
            falls = values[first] - values[first + 1 : -1]
            rises = after[first + 2 :] - values[first]
            greatest = max(greatest, float(np.minimum(falls, rises).max()))
    return greatest


def _along_a_ray(network: Sequential, variables: Variables) -> np.ndarray:
    """The output at one place for the inputs t w, with t such that w x runs from −8 to 8."""
    kernel = np.asarray(variables["params"]["conv"]["kernel"])[..., 0]
    ts = np.linspace(-8, 8, 65) / np.square(kernel).sum()
    x = ts[:, None, None, None] * kernel
    return evaluate(network, variables, jnp.asarray(x)).reshape(len(ts))


def _one_channel(
    activation: Activation, gamma: int, seed: int, beta: int = 0, mean: int = 0
) -> tuple[Sequential, Variables]:
    network, variables = _network(activation, [1.0], seed)
    variables["params"]["bn"] = {"scale": jnp.array([float(gamma)]), "bias": jnp.array([float(beta)])}
    variables["batch_stats"]["bn"] = {"mean": jnp.array([float(mean)]), "var": jnp.ones(1)}
    return network, variables


@claim(
    "C3.left",
    "removing batch norms does not change BN(σ(w x + b)) for tanh, sigmoid and GELU, because the batch norm stays",
    source="course 000, Q1(c)",
    activation=st.sampled_from([Tanh(), Sigmoid(), Gelu()]),
    gamma=st.integers(-2, 2),
    seed=few_seeds,
)
def other_activations_are_left(activation: Activation, gamma: int, seed: int) -> None:
    """Compare the outputs, and check that the report names the batch norm."""
    network, variables = _one_channel(activation, gamma, seed)
    changed, new, report = remove_batch_norm(network, variables)
    check_same("without batch norms against with", (changed, new), (network, variables), EVENT, seed)
    if report.left != ("bn",):
        raise AssertionError(f"the report names {report.left}, not ('bn',)")
