"""Count a network's operations, parameters and activations, with each layer's receptive field and stride."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

from mathdnn_jax.cli import arguments
from mathdnn_jax.nets import Sequential, alexnet, net1, net2, small_net
from mathdnn_jax.nets.shapes import Shape
from mathdnn_jax.surgery import count_operations

NETWORKS: dict[str, tuple[Callable[[], Sequential], Shape]] = {
    "alexnet": (alexnet, (224, 224, 3)),
    "net1": (net1, (32, 32, 3)),
    "net2": (net2, (32, 32, 3)),
    "small-net": (small_net, (32, 32, 3)),
    "small-net-folded": (lambda: small_net(batch_norm=False), (32, 32, 3)),
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
    make, input_shape = NETWORKS[options.network]
    count = count_operations(make(), tuple(options.input) if options.input else input_shape)
    print(json.dumps({"network": options.network, **count.as_dict()}) if options.json else count.describe())
    return 0
