"""What all models of one family have in common: how they are run and watched, in JAX and in PyTorch."""

from parity.models.families.family import Events, Family, Layers
from parity.models.families.flow import FLOW
from parity.models.families.generative import GENERATIVE
from parity.models.families.network import NETWORK

__all__ = ["FLOW", "GENERATIVE", "NETWORK", "Events", "Family", "Layers"]
