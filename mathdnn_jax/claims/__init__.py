"""The course's statements as executable claims, including the mistaken ones, each of which has a counterexample.

`find_claims` looks claims up by their ids, `run_claim` decides one, and `mathdnn claims` decides them all.
docs/course.md lists the claims by the systems that they are about.
"""

from mathdnn_jax.claims.chance import Effect
from mathdnn_jax.claims.claim import Claim, claim
from mathdnn_jax.claims.registry import CLAIMS, find_claims
from mathdnn_jax.claims.run import Outcome, run_claim

__all__ = ["CLAIMS", "Claim", "Effect", "Outcome", "claim", "find_claims", "run_claim"]
