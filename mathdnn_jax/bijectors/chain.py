"""Named composition of maps, and the inverse of a map as a map."""

from __future__ import annotations

import itertools

import jax

from mathdnn_jax.bijectors.bijector import Bijector, Params
from mathdnn_jax.errors import ConfigurationError, ParameterStructureError


def chain(**parts: Bijector) -> Bijector:
    """Compose named maps: f = f_n ∘ … ∘ f_1, with log|det ∂f/∂x| = Σ_k log|det ∂f_k/∂x_k|, x_k = f_k−1(…f_1(x)).

    The parameters are `{name: parameters of that part}`, so that the tree reads like a state dict:
    `chain(coupling_0=..., coupling_1=..., scaling=...)`. Part k is initialised with the k-th of n split keys. A part
    that initialises its parameters from data receives the data as transformed by the parts before it. The context is
    passed to every part.

    Raises:
        ConfigurationError: there are no parts, or the rank of one part's z differs from that of the next part's x.
        ParameterStructureError: (when applied) the names of the parameters differ from the names of the parts.

    Example:
        >>> import jax, jax.numpy as jnp, mathdnn_jax as mj
        >>> bijector = mj.chain(logit=mj.bijectors.logit((2,)), scaling=mj.bijectors.scaling(2))
        >>> params = bijector.init(jax.random.key(0))
        >>> sorted(params)
        ['logit', 'scaling']
        >>> z, log_det = bijector.forward(params, jnp.full((3, 2), 0.5))
        >>> z.shape, log_det.shape
        ((3, 2), (3,))
    """
    if not parts:
        raise ConfigurationError("chain needs at least one named part, given none")
    names = tuple(parts)
    for name, following in itertools.pairwise(names):
        if parts[name].latent_ndims != parts[following].event_ndims:
            raise ConfigurationError(
                f"chain passes the z of each part to the next part, but {name!r} returns events of "
                f"{parts[name].latent_ndims} axes, {following!r} takes events of {parts[following].event_ndims}"
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
    """The map f⁻¹: its `forward` is the given map's `inverse` and vice versa; the parameters are the same.

    It has neither parts nor `init_from_data`, even if the given map does: both refer to the direction from data to
    latent.

    Example:
        >>> import jax, jax.numpy as jnp, mathdnn_jax as mj
        >>> sigmoid = mj.invert(mj.bijectors.logit((2,), alpha=0.0))
        >>> x, log_det = sigmoid.forward({}, jnp.zeros((3, 2)))
        >>> x.shape, float(x[0, 0])
        ((3, 2), 0.5)
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
