"""Train a flow, a VAE, a GAN, an autoencoder or a small convolutional network; each run has its own folder."""

from __future__ import annotations

import argparse

from mathdnn_jax.cli import arguments

MODELS = ("nice", "real-nvp", "glow", "mixture-cdf", "vae", "gan", "autoencoder", "small-net")

DEFAULTS = {
    "data": "mnist; three-gaussians for mixture-cdf; cifar10 for small-net",
    "epochs": "50; 100 for nice, mixture-cdf; 20 for vae, small-net; 10 for autoencoder",
    "batch_size": "100; 200 for nice; 128 for mixture-cdf",
    "learning_rate": "0.001; 0.05 for mixture-cdf; 0.0002 for gan",
    "seed": "0",
    "precision": "float32",
}
"""The defaults of settings that have an option, in words. A test compares them with those of the recipes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("model", choices=MODELS, metavar="MODEL", help=", ".join(MODELS))
    parser.add_argument("--output", "-o", metavar="RUN", help="folder of the run (default: runs/MODEL)")
    parser.add_argument("--data", metavar="NAME", help=f"data set (default: {DEFAULTS['data']})")
    arguments.add_data_dir_argument(parser)
    parser.add_argument(
        "--config", metavar="FILE", help="TOML file of settings, such as the config.toml of a run (default: none)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set any setting; may be repeated; an unknown key lists all settings",
    )
    parser.add_argument(
        "--epochs", type=arguments.count, help=f"number of passes over the examples (default: {DEFAULTS['epochs']})"
    )
    parser.add_argument(
        "--batch-size",
        type=arguments.count,
        help=f"examples in a step, over all devices together (default: {DEFAULTS['batch_size']})",
    )
    parser.add_argument(
        "--learning-rate", type=float, help=f"learning rate of Adam (default: {DEFAULTS['learning_rate']})"
    )
    parser.add_argument(
        "--seed",
        type=arguments.seed,
        help=f"seed of the parameters, the order and all random draws (default: {DEFAULTS['seed']})",
    )
    parser.add_argument(
        "--precision", help=f"float32, or bfloat16 with float32 master weights (default: {DEFAULTS['precision']})"
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const=True,
        default=False,
        type=arguments.count,
        metavar="STEP",
        help="continue from the newest checkpoint of RUN, or from that of a step; start anew if there is none "
        "(default: refuse a folder that has a run)",
    )
    parser.add_argument(
        "--devices", type=arguments.count, metavar="N", help="spread every batch over N devices (default: use one)"
    )
    parser.add_argument(
        "--coordinator",
        metavar="HOST:PORT",
        help="address of process 0, if several train together (default: $MATHDNN_COORDINATOR, else train alone)",
    )
    parser.add_argument(
        "--processes", type=arguments.count, metavar="N", help="number of processes (default: $MATHDNN_PROCESSES)"
    )
    parser.add_argument(
        "--process-id", type=int, metavar="I", help="index of this process, from 0 (default: $MATHDNN_PROCESS_ID)"
    )
    parser.add_argument(
        "--coordinator-timeout",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="how long processes wait for each other (default: 300)",
    )
    parser.add_argument("--json", action="store_true", help="print the final evaluation as one JSON object")


def run(options: argparse.Namespace) -> int:
    """Run the command, whose own module imports JAX."""
    from mathdnn_jax.cli import train

    return train.run(options)
