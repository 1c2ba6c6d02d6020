"""NICE: additive couplings on interleaved halves, a diagonal scaling, a logistic prior."""

from __future__ import annotations

from mathdnn_jax.bijectors import additive_coupling, chain, scaling
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.flows.flow import Flow, flow
from mathdnn_jax.flows.multiscale import interleaved_half
from mathdnn_jax.nets import MLP
from mathdnn_jax.probability import logistic


def nice(dim: int = 784, width: int = 1000, depth: int = 5, couplings: int = 4) -> Flow:
    """z = exp(s) ⊙ (c_n ∘ … ∘ c_1)(x),  log p(x) = Σ_i [−softplus(z_i) − softplus(−z_i)] + Σ_i s_i, in nats.

    Each coupling c_i keeps the entries of one parity and adds to the others a shift that an MLP computes from the kept
    entries; it has `depth` hidden ReLU layers of width `width`. The first coupling keeps the odd entries (1, 3, 5, …,
    counted from 0), the next one the even entries, and so on in turn. The defaults give the network of the course, on
    28 × 28 images as vectors.

    The parameters are `{"coupling_0": {"dense_0": {"kernel", "bias"}, …}, …, "scaling": {"log_scale"}}`, drawn from
    PyTorch's default initialiser, with the scaling at zero. Events have shape (dim,).

    Raises:
        ConfigurationError: dim < 2, or width, depth or couplings is below 1.

    Example:
        >>> import jax, mathdnn_jax as mj
        >>> flow = mj.nice(dim=4, width=8)
        >>> params = flow.init(jax.random.key(0))
        >>> x = flow.sample(params, jax.random.key(1), (3,))
        >>> x.shape, flow.log_prob(params, x).shape
        ((3, 4), (3,))

    Source: Dinh, Krueger, Bengio, "NICE: Non-linear Independent Components Estimation", 2014; course 000, Q3;
    course 003, P3.
    """
    given = {"dim": dim, "width": width, "depth": depth, "couplings": couplings}
    least = {"dim": 2, "width": 1, "depth": 1, "couplings": 1}
    wrong = [f"{name}={value} (at least {least[name]})" for name, value in given.items() if value < least[name]]
    if wrong:
        raise ConfigurationError(f"nice cannot be built with {', '.join(wrong)}")

    parts = {}
    for i in range(couplings):
        kept = interleaved_half(dim, i)
        moved = int(dim - kept.sum())
        parts[f"coupling_{i}"] = additive_coupling(MLP((width,) * depth + (moved,)), mask=kept)
    parts["scaling"] = scaling(dim)
    return flow(chain(**parts), logistic((dim,)), name="nice", event_shape=(dim,))
