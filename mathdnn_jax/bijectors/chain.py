"""Composition of maps by name, and the map taken backwards."""

from __future__ import annotations

import itertools

import jax

from mathdnn_jax.bijectors.bijector import Bijector, Params
from mathdnn_jax.errors import ConfigurationError, ParameterStructureError


def chain(**parts: Bijector) -> Bijector:
    """Compose named maps: f = f_n ∘ … ∘ f_1, with log|det ∂f/∂x| = Σ_k log|det ∂f_k/∂x_k|, x_k = f_k−1(…f_1(x)).

    The parameters are `{name: parameters of that part}`, so that a tree reads like a state dict:
    `chain(coupling_0=..., coupling_1=..., scaling=...)`. Part k is initialised with the k-th of n split keys; where
    a part wants data for its first parameters, it is given what the parts before it make of them. A context goes to
    every part.

    Raises:
        ConfigurationError: there are no parts, or one part's z has another rank than the next one's x.
        ParameterStructureError: (when applied) the parameters' names are not the parts' names.
    """
    if not parts:
        raise ConfigurationError("chain needs at least one named part, given none")
    names = tuple(parts)
    for name, following in itertools.pairwise(names):
        if parts[name].latent_ndims != parts[following].event_ndims:
            raise ConfigurationError(
                f"chain passes each part's z to the next part; {name!r} returns events of {parts[name].latent_ndims} "
                f"axes, {following!r} takes events of {parts[following].event_ndims}"
            )

    def init(key: jax.Array) -> Params:
        keys = jax.random.split(key, len(parts))
        return {name: part.init(keys[k]) for k, (name, part) in enumerate(parts.items())}

    def init_from_data(params: Params, x: jax.Array, context: jax.Array | None = None) -> Params:
        _check_names(params, names)
        initialised = {}
        for name, part in parts.items():
            own = params[name] if part.init_from_data is None else part.init_from_data(params[name], x, context)
            initialised[name] = own
            x, _ = part.forward(own, x, context)
        return initialised

    def forward(params: Params, x: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        _check_names(params, names)
        first, *rest = parts.items()
        z, log_det = first[1].forward(params[first[0]], x, context)
        for name, part in rest:
            z, part_log_det = part.forward(params[name], z, context)
            log_det = log_det + part_log_det
        return z, log_det

    def inverse(params: Params, z: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        _check_names(params, names)
        first, *rest = reversed(parts.items())
        x, log_det = first[1].inverse(params[first[0]], z, context)
        for name, part in rest:
            x, part_log_det = part.inverse(params[name], x, context)
            log_det = log_det + part_log_det
        return x, log_det

    return Bijector(
        init,
        forward,
        inverse,
        parts[names[0]].event_ndims,
        parts=tuple(parts.items()),
        latent_event_ndims=parts[names[-1]].latent_ndims,
        init_from_data=init_from_data if any(part.init_from_data for part in parts.values()) else None,
    )


def invert(bijector: Bijector) -> Bijector:
    """The map f⁻¹: its `forward` is the given map's `inverse` and the other way round; the parameters are the same.

    It has no parts, and wants no data for its first parameters, whatever the given map has or wants: both are about
    the direction from data to latent.
    """
    return Bijector(
        bijector.init,
        bijector.inverse,
        bijector.forward,
        bijector.latent_ndims,
        latent_event_ndims=bijector.event_ndims,
    )


def _check_names(params: Params, names: tuple[str, ...]) -> None:
    given = tuple(params)
    if set(given) != set(names):
        raise ParameterStructureError(
            f"chain expects parameters named {sorted(names)}, given {sorted(given)}; "
            f"missing {sorted(set(names) - set(given))}, unexpected {sorted(set(given) - set(names))}"
        )
