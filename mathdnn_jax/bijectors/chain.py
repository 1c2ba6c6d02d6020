"""Composition of maps by name."""

from __future__ import annotations

import jax

from mathdnn_jax.bijectors.bijector import Bijector, Params
from mathdnn_jax.errors import ConfigurationError, ParameterStructureError


def chain(**parts: Bijector) -> Bijector:
    """Compose named maps: f = f_n ∘ … ∘ f_1, with log|det ∂f/∂x| = Σ_k log|det ∂f_k/∂x_k|, x_k = f_k−1(…f_1(x)).

    The parameters are `{name: parameters of that part}`, so that a tree reads like a state dict:
    `chain(coupling_0=..., coupling_1=..., scaling=...)`. Part k is initialised with the k-th of n split keys.

    Raises:
        ConfigurationError: there are no parts, or their events have different ranks.
        ParameterStructureError: (when applied) the parameters' names are not the parts' names.
    """
    if not parts:
        raise ConfigurationError("chain needs at least one named part, given none")
    ranks = {name: part.event_ndims for name, part in parts.items()}
    if len(set(ranks.values())) > 1:
        raise ConfigurationError(f"chain composes maps whose events have one rank, given {ranks}")
    names = tuple(parts)

    def init(key: jax.Array) -> Params:
        keys = jax.random.split(key, len(parts))
        return {name: part.init(keys[k]) for k, (name, part) in enumerate(parts.items())}

    def forward(params: Params, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        _check_names(params, names)
        first, *rest = parts.items()
        z, log_det = first[1].forward(params[first[0]], x)
        for name, part in rest:
            z, part_log_det = part.forward(params[name], z)
            log_det = log_det + part_log_det
        return z, log_det

    def inverse(params: Params, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        _check_names(params, names)
        first, *rest = reversed(parts.items())
        x, log_det = first[1].inverse(params[first[0]], z)
        for name, part in rest:
            x, part_log_det = part.inverse(params[name], x)
            log_det = log_det + part_log_det
        return x, log_det

    return Bijector(init, forward, inverse, next(iter(ranks.values())), tuple(parts.items()))


def _check_names(params: Params, names: tuple[str, ...]) -> None:
    given = tuple(params)
    if set(given) != set(names):
        raise ParameterStructureError(
            f"chain expects parameters named {sorted(names)}, given {sorted(given)}; "
            f"missing {sorted(set(names) - set(given))}, unexpected {sorted(set(given) - set(names))}"
        )
