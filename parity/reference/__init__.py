"""PyTorch twins of the library's models, with state-dict names exactly as the checkpoints have them."""

from parity.reference.nice import NICE

__all__ = ["NICE"]
