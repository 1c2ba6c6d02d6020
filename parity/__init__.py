"""Convert PyTorch checkpoints to JAX bit for bit, with evidence that nothing changed.

`load` reads a file safely, `convert` and `export` convert weights strictly in both directions, `certify` compares
two networks layer by layer. `parity.reference` holds the PyTorch twins; only they, and the code that runs them, need
torch.
"""

from parity.certification.certify import certify
from parity.certification.recording import record
from parity.containers.checkpoint import load
from parity.conversion import convert, export
from parity.inference import infer_rules
from parity.models import MODELS
from parity.rules.table import RuleTable, read_rules, write_rules
from parity.store import restore, save_params, save_state

__all__ = [
    "MODELS",
    "RuleTable",
    "certify",
    "convert",
    "export",
    "infer_rules",
    "load",
    "read_rules",
    "record",
    "restore",
    "save_params",
    "save_state",
    "write_rules",
]
