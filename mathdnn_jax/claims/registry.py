"""All claims in the order of the course's systems, and a search by id."""

from __future__ import annotations

from collections.abc import Iterable

from mathdnn_jax.claims import (
    adversarial,
    anomaly,
    backprop,
    batch_norm,
    bound_gradients,
    change_of_variables,
    conditional_maps,
    couplings,
    divergences,
    estimators,
    flows,
    gaussian_divergences,
    importance,
    initialisation,
    linear_maps,
    log_derivative,
    one_dimensional,
    priors,
    projections,
    reshaping,
    sign_bias,
    sine_mistakes,
    sine_runs,
    sliding,
    smooth_maximum,
    training_data,
    variational,
)
from mathdnn_jax.claims.claim import Claim
from mathdnn_jax.errors import ConfigurationError

_MODULES = (
    priors,
    flows,
    couplings,
    linear_maps,
    reshaping,
    conditional_maps,
    one_dimensional,
    training_data,
    change_of_variables,
    anomaly,
    projections,
    batch_norm,
    sign_bias,
    sliding,
    backprop,
    initialisation,
    variational,
    bound_gradients,
    log_derivative,
    adversarial,
    divergences,
    gaussian_divergences,
    smooth_maximum,
    importance,
    estimators,
    sine_mistakes,
    sine_runs,
)

# Within a module the claims are in the order of their definition.
CLAIMS: tuple[Claim, ...] = tuple(
    value for module in _MODULES for value in vars(module).values() if isinstance(value, Claim)
)


def find_claims(ids: Iterable[str]) -> tuple[Claim, ...]:
    """Look up claims by their ids.

    Args:
        ids: each the whole id of a claim ("F5.log_det"), or that of a system or an erratum ("F5"), which stands for all
            of its claims.

    Returns:
        The claims, in the order of `CLAIMS`.

    Raises:
        ConfigurationError: no claim has one of the ids.

    Example:
        >>> from mathdnn_jax.claims import find_claims
        >>> [claim.id for claim in find_claims(["F3"])]
        ['F3.log_det', 'F3.blocks', 'F3.inverse']
    """
    ids = list(ids)
    unknown = [wanted for wanted in ids if not any(_matches(claim, wanted) for claim in CLAIMS)]
    if unknown:
        known = ", ".join(claim.id for claim in CLAIMS)
        raise ConfigurationError(f"no claim has the id {', '.join(unknown)}; the claims are {known}")
    return tuple(claim for claim in CLAIMS if any(_matches(claim, wanted) for wanted in ids))


def _matches(claim: Claim, wanted: str) -> bool:
    return claim.id == wanted or claim.id.startswith(f"{wanted}.")
