"""Every mathematical statement of the sources, executable; the mistaken ones too, each with its counterexample."""

from mathdnn_jax.claims.claim import Claim, claim
from mathdnn_jax.claims.registry import CLAIMS, find_claims
from mathdnn_jax.claims.run import Outcome, run_claim

__all__ = ["CLAIMS", "Claim", "Outcome", "claim", "find_claims", "run_claim"]
