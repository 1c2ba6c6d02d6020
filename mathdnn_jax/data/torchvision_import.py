"""Importing torchvision's data sets, even if its compiled operators cannot be loaded.

The wheels of torchvision are compiled against a PyTorch with CUDA. With a CPU-only PyTorch their operators cannot be
loaded, and `import torchvision` fails when it registers metadata for two of them, although no data set needs either. It
suffices to declare these operators without implementing them.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from types import MappingProxyType, ModuleType
from typing import Any

from mathdnn_jax.data.optional import import_optional

_MODULE = "torchvision.datasets"
_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_SCHEMAS: Mapping[str, str] = MappingProxyType({name: name + _SIGNATURE for name in ("nms", "qnms")})

# A schema is withdrawn when the library object that defined it is collected.
_alive: list[Any] = []


def import_torchvision_datasets() -> ModuleType:
    """Import `torchvision.datasets`.

    The plain import is tried first. Only if it fails because the operator `torchvision::nms` (or `qnms`) does not
    exist, the missing ones of the two are declared, but not implemented, and the import is repeated.

    Raises:
        MissingDependencyError: torch or torchvision is not installed.
        Exception: Any other error of the import.
    """
    try:
        return import_optional(_MODULE, "loading MNIST, KMNIST or CIFAR-10")
    except RuntimeError as error:
        if not any(f"operator torchvision::{name} does not exist" in str(error) for name in _SCHEMAS):
            raise
    _declare_missing_operators()
    _forget_half_imported()
    return importlib.import_module(_MODULE)


def _declare_missing_operators() -> None:
    torch = importlib.import_module("torch")
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)
    _alive.append(library)


def _forget_half_imported() -> None:
    """Make the next import run every module of torchvision again, with the operators that exist by then."""
    for name in list(sys.modules):
        if name.partition(".")[0] == "torchvision":
            del sys.modules[name]
