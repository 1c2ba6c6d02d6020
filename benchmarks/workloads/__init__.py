"""The catalogue of workloads by name; a module is imported only when one of its workloads is requested."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from benchmarks.case import Workload
from mathdnn_jax.errors import ConfigurationError

MODULES = {
    "nice-log-prob": "nice",
    "nice-sample": "nice",
    "nice-step": "nice_training",
    "nice-epoch": "nice_training",
    "inpainting": "inpainting",
    "real-nvp-step": "image_flows",
    "real-nvp-sample": "image_flows",
    "glow-step": "image_flows",
    "glow-sample": "image_flows",
    "flow-1d": "density_1d",
    "autoencoder-epoch": "autoencoder",
    "autoencoder-start": "autoencoder",
    "small-net": "small_net",
    "small-net-folded": "small_net",
    "small-net-step": "small_net",
    "net1": "sliding",
    "net2": "sliding",
    "vae-step": "generative",
    "gan-step": "generative",
    "dcgan-sample": "generative",
    "gamblers-ruin": "probability",
    "gradient-estimators": "probability",
    "plu": "plu",
    "flow-peers": "flow_peers",
    "growth": "growth",
}
"""The name of each workload, and the module of this package that defines it."""


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names without repetitions, or all names if none is given.

    Raises:
        ConfigurationError: there is no workload of one of these names.
    """
    unknown = [name for name in names if name not in MODULES]
    if unknown:
        raise ConfigurationError(f"there is no workload {', '.join(unknown)}; choose from {', '.join(MODULES)}")
    return tuple(dict.fromkeys(names)) or tuple(MODULES)


def load_workload(name: str) -> Workload:
    """Import the module of a workload and return the workload.

    Raises:
        ConfigurationError: the module has no workload of this name.
        ImportError: a package that the module needs is not installed.
    """
    module = importlib.import_module(f"{__name__}.{MODULES[name]}")
    for value in vars(module).values():
        if isinstance(value, Workload) and value.name == name:
            return value
    raise ConfigurationError(f"benchmarks/workloads/{MODULES[name]}.py defines no workload named {name}")


def summary_of(name: str) -> str:
    """Return the summary of a workload, or the reason why it cannot be loaded here."""
    try:
        return load_workload(name).summary
    except (ImportError, ConfigurationError) as error:
        return f"not available here: {error}"
