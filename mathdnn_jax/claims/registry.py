"""All claims, in the order of the systems, and finding some by their ids."""

from __future__ import annotations

from collections.abc import Iterable

from mathdnn_jax.claims import (
    adversarial,
    anomaly,
    backprop,
    batch_norm,
    divergences,
    estimators,
    flows,
    importance,
    initialisation,
    linear_maps,
    log_derivative,
    one_dimensional,
    projections,
    sign_bias,
    sliding,
    smooth_maximum,
    variational,
)
from mathdnn_jax.claims.claim import Claim
from mathdnn_jax.errors import ConfigurationError

CLAIMS: tuple[Claim, ...] = (
    *flows.CLAIMS,
    *linear_maps.CLAIMS,
    *one_dimensional.CLAIMS,
    *anomaly.CLAIMS,
    *projections.CLAIMS,
    *batch_norm.CLAIMS,
    *sign_bias.CLAIMS,
    *sliding.CLAIMS,
    *backprop.CLAIMS,
    *initialisation.CLAIMS,
    *variational.CLAIMS,
    *log_derivative.CLAIMS,
    *adversarial.CLAIMS,
    *divergences.CLAIMS,
    *smooth_maximum.CLAIMS,
    *importance.CLAIMS,
    *estimators.CLAIMS,
)


def find_claims(ids: Iterable[str]) -> tuple[Claim, ...]:
    """The claims of these ids, each a whole id ("F5.log_det") or a row of which all are meant ("F5").

    Raises:
        ConfigurationError: an id is that of no claim.
    """
    ids = list(ids)
    unknown = [wanted for wanted in ids if not any(_matches(claim, wanted) for claim in CLAIMS)]
    if unknown:
        known = ", ".join(claim.id for claim in CLAIMS)
        raise ConfigurationError(f"no claim has the id {', '.join(unknown)}; there are {known}")
    return tuple(claim for claim in CLAIMS if any(_matches(claim, wanted) for wanted in ids))


def _matches(claim: Claim, wanted: str) -> bool:
    return claim.id == wanted or claim.id.startswith(f"{wanted}.")
