"""The catalogue of workloads, by name; a module is imported when one of its workloads is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from benchmarks.harness.workload import Workload
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
"""Each workload's name, and the module of this package that has it."""


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names as they are, or all where none is given.

    Raises:
        ConfigurationError: there is no such workload.
    """
    unknown = [name for name in names if name not in MODULES]
    if unknown:
        raise ConfigurationError(f"no workload {', '.join(unknown)}; there are {', '.join(MODULES)}")
    return tuple(dict.fromkeys(names)) or tuple(MODULES)


def load_workload(name: str) -> Workload:
    """Import the module of a workload and return the workload.

    Raises:
        ConfigurationError: the module has none of that name.
        ImportError: what it needs is not installed.
    """
    module = importlib.import_module(f"{__name__}.{MODULES[name]}")
    for value in vars(module).values():
        if isinstance(value, Workload) and value.name == name:
            return value
    raise ConfigurationError(f"benchmarks/workloads/{MODULES[name]}.py has no workload of the name {name}")
