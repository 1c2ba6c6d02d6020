"""PyTorch checkpoints, converted to JAX to the bit, with evidence that nothing changed.

`load` reads a file safely, `convert` and `export` carry weights over strictly in either direction, `certify` compares
the two networks layer by layer. `parity.reference` holds the PyTorch twins; only it, and what runs them, imports torch.
"""

from parity.certificate import certify
from parity.checkpoint import load
from parity.conversion import convert, export
from parity.models import MODELS
from parity.store import restore, save_params, save_state

__all__ = ["MODELS", "certify", "convert", "export", "load", "restore", "save_params", "save_state"]
