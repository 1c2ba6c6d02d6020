"""Count a network's operations, parameters and activations, with each layer's receptive field and stride."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from mathdnn_jax.cli import arguments

if TYPE_CHECKING:
    from mathdnn_jax.nets import Sequential

NETWORKS = {
    "alexnet": (224, 224, 3),
    "net1": (32, 32, 3),
    "net2": (32, 32, 3),
    "small-net": (32, 32, 3),
    "small-net-folded": (32, 32, 3),
}
"""The networks by name, with the image shape that each is made for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("network", choices=sorted(NETWORKS), help="the network, at its full size")
    parser.add_argument(
        "--input",
        nargs=3,
        type=arguments.count,
        metavar=("H", "W", "C"),
        help="height, width and channels of an image (default: the network's own)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from mathdnn_jax.surgery import count_operations

    input_shape = tuple(options.input) if options.input else NETWORKS[options.network]
    count = count_operations(make(options.network), input_shape)
    print(json.dumps({"network": options.network, **count.as_dict()}) if options.json else count.describe())
    return 0


def make(network: str) -> Sequential:
    """Build a network of `NETWORKS`."""
    from mathdnn_jax import nets

    if network == "small-net-folded":
        return nets.small_net(batch_norm=False)
    builders: dict[str, Callable[[], Sequential]] = {
        "alexnet": nets.alexnet,
        "net1": nets.net1,
        "net2": nets.net2,
        "small-net": nets.small_net,
    }
    return builders[network]()
