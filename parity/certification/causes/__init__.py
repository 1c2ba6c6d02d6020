"""The likely cause of a departure: which convention of PyTorch's the JAX network does not share."""

from parity.certification.causes.cause import Cause
from parity.certification.causes.search import likely_cause

__all__ = ["Cause", "likely_cause"]
