"""NICE: additive couplings on interleaved halves, a diagonal scaling, a logistic prior."""

from __future__ import annotations

import numpy as np

from mathdnn_jax.bijectors import additive_coupling, chain, scaling
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.flows.flow import Flow, flow
from mathdnn_jax.nets import MLP
from mathdnn_jax.probability import logistic


def nice(dim: int = 784, width: int = 1000, depth: int = 5, couplings: int = 4) -> Flow:
    """Z = exp(s) ⊙ (c_n ∘ … ∘ c_1)(x),  log p(x) = Σ_i [−softplus(z_i) − softplus(−z_i)] + Σ_i s_i, in nats.

    Coupling c_i keeps the entries of one parity and adds to the others a shift that an MLP computes from them:
    `depth` hidden ReLU layers of `width`. The first keeps the odd entries (1, 3, 5, …, counted from 0), the next
    the even ones, and so on in turn. The defaults are the network of the seed, on 28 × 28 images as vectors.

    Parameters: `{"coupling_0": {"dense_0": {"kernel", "bias"}, …}, …, "scaling": {"log_scale"}}`, drawn from
    PyTorch's default initialiser, the scaling at zero. Events have shape (dim,).

    Raises:
        ConfigurationError: dim < 2, or width, depth or couplings below 1.

    Source: Dinh, Krueger, Bengio, "NICE: Non-linear Independent Components Estimation", 2014; seeds 000 Q3, 003 P3.
    """
    given = {"dim": dim, "width": width, "depth": depth, "couplings": couplings}
    least = {"dim": 2, "width": 1, "depth": 1, "couplings": 1}
    wrong = [f"{name}={value} (at least {least[name]})" for name, value in given.items() if value < least[name]]
    if wrong:
        raise ConfigurationError(f"nice cannot be built with {', '.join(wrong)}")

    parity = np.arange(dim) % 2
    parts = {}
    for i in range(couplings):
        kept = parity == (i + 1) % 2
        moved = int(dim - kept.sum())
        parts[f"coupling_{i}"] = additive_coupling(MLP((width,) * depth + (moved,)), mask=kept)
    parts["scaling"] = scaling(dim)
    return flow(chain(**parts), logistic((dim,)))
