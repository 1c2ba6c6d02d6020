"""What all models of one family have in common: how they are run and watched, in JAX and in PyTorch."""

from parity.families.family import Events, Family, Layers
from parity.families.flow import FLOW
from parity.families.generative import GENERATIVE
from parity.families.network import NETWORK

__all__ = ["FLOW", "GENERATIVE", "NETWORK", "Events", "Family", "Layers"]
