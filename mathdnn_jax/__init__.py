"""Generative models and convolutional networks in JAX, as pure functions whose mathematics is tested.

About thirty names stand at the root; the rest are reached through their rooms, such as `mathdnn_jax.bijectors.split`,
`mathdnn_jax.nets.Conv` or `mathdnn_jax.probability.gaussian_kl`. Each room is imported when it is first used.

Example:
    >>> import jax, mathdnn_jax as mj
    >>> flow = mj.nice(dim=4, width=8)
    >>> params = flow.init(jax.random.key(0))
    >>> flow.log_prob(params, jax.numpy.zeros((3, 4))).shape
    (3,)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # The names below once more, for type checkers and editors; a test compares the two lists.
    from mathdnn_jax import (
        bijectors,
        claims,
        data,
        errors,
        flows,
        generative,
        memory,
        nets,
        plots,
        probability,
        recipes,
        surgery,
        tasks,
        testing,
        training,
    )
    from mathdnn_jax.bijectors import Bijector, chain, invert
    from mathdnn_jax.flows import Flow, flow, glow, mixture_cdf_flow, nice, real_nvp
    from mathdnn_jax.generative import autoencoder, gan, vae
    from mathdnn_jax.memory import keep_freed_memory
    from mathdnn_jax.nets import Sequential, alexnet, conv1d_backprop, conv_relu_bn, net1, net2, small_net
    from mathdnn_jax.surgery import (
        count_operations,
        dense_to_conv,
        fold_batch_norm,
        fold_batch_norms,
        frequency_domain,
        remove_batch_norm,
        to_sign_bias,
    )
    from mathdnn_jax.testing import check_bijector
    from mathdnn_jax.training import fit

__all__ = [
    "Bijector",
    "Flow",
    "Sequential",
    "alexnet",
    "autoencoder",
    "bijectors",
    "chain",
    "check_bijector",
    "claims",
    "conv1d_backprop",
    "conv_relu_bn",
    "count_operations",
    "data",
    "dense_to_conv",
    "errors",
    "fit",
    "flow",
    "flows",
    "fold_batch_norm",
    "fold_batch_norms",
    "frequency_domain",
    "gan",
    "generative",
    "glow",
    "invert",
    "keep_freed_memory",
    "memory",
    "mixture_cdf_flow",
    "net1",
    "net2",
    "nets",
    "nice",
    "plots",
    "probability",
    "real_nvp",
    "recipes",
    "remove_batch_norm",
    "small_net",
    "surgery",
    "tasks",
    "testing",
    "to_sign_bias",
    "training",
    "vae",
]
__version__ = "0.1.0"

if not TYPE_CHECKING:  # A type checker that saw `__getattr__` would take every name for one of ours.
    _NAMES_OF = {
        "bijectors": ("Bijector", "chain", "invert"),
        "flows": ("Flow", "flow", "glow", "mixture_cdf_flow", "nice", "real_nvp"),
        "generative": ("autoencoder", "gan", "vae"),
        "memory": ("keep_freed_memory",),
        "nets": ("Sequential", "alexnet", "conv1d_backprop", "conv_relu_bn", "net1", "net2", "small_net"),
        "surgery": (
            "count_operations",
            "dense_to_conv",
            "fold_batch_norm",
            "fold_batch_norms",
            "frequency_domain",
            "remove_batch_norm",
            "to_sign_bias",
        ),
        "testing": ("check_bijector",),
        "training": ("fit",),
    }
    _ROOM_OF = {name: room for room, names in _NAMES_OF.items() for name in names}

    def __getattr__(name: str) -> Any:
        """Import a room, or the room that a name lives in, when it is first asked for (PEP 562)."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name in _ROOM_OF:
            found = getattr(import_module(f"{__name__}.{_ROOM_OF[name]}"), name)
        else:
            found = import_module(f"{__name__}.{name}")
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
