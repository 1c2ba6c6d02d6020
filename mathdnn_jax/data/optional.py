"""Imports of packages that only the extra `data` installs."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType, ModuleType

from mathdnn_jax.errors import MissingDependencyError

_DISTRIBUTIONS: Mapping[str, str] = MappingProxyType(
    {
        "PIL": "pillow",
        "platformdirs": "platformdirs",
        "sklearn": "scikit-learn",
        "torch": "torch",
        "torchvision": "torchvision",
    }
)


def import_optional(module: str, purpose: str) -> ModuleType:
    """Import `module`, which is needed for `purpose`.

    Raises:
        MissingDependencyError: A package of the extra `data` is not installed.
        Exception: Any other error of the import; a broken installation is not reported as a missing one.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        distribution = _DISTRIBUTIONS.get(error.name or "")
        if distribution is None:
            raise
        raise MissingDependencyError(
            f'{purpose} needs {distribution}, which is not installed; run: pip install "mathdnn_jax[data]"'
        ) from error
