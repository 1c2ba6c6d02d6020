"""Draw samples from a trained model, as a picture or an array."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np

from mathdnn_jax.cli import arguments
from mathdnn_jax.cli.outputs import add_output_arguments, output_path
from mathdnn_jax.cli.pictures import check_picture, save_figure
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.files import check_writable, replace_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("run_folder", metavar="RUN", help="the folder of a `mathdnn train` run")
    parser.add_argument(
        "--count", "-n", type=arguments.count, default=64, metavar="N", help="number of samples (default: 64)"
    )
    add_output_arguments(parser, "a picture, or .npy for an array", "samples.png")
    parser.add_argument(
        "--temperature", type=float, default=1.0, help="factor that scales latents about their mean (default: 1)"
    )
    parser.add_argument("--seed", type=arguments.seed, default=0, help="seed of the samples (default: 0)")


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    import jax

    from mathdnn_jax.cli.drawing import draw_samples
    from mathdnn_jax.cli.run_folder import read_run
    from mathdnn_jax.cli.run_pictures import sample_figure

    target = output_path(options, "samples.png")
    as_array = target.suffix == ".npy"
    check_writable(target) if as_array else check_picture(target)
    if not 0 < options.temperature < math.inf:
        raise ConfigurationError(f"the temperature must be a positive number, given {options.temperature}")
    found = read_run(Path(options.run_folder))
    key = jax.random.key(options.seed)
    drawn = draw_samples(found, key, options.count, options.temperature, pictured=not as_array)
    if as_array:
        with replace_file(target) as temporary:
            np.save(temporary, drawn)
    else:
        save_figure(sample_figure(found.task, found.params, drawn, f"{found.model}, {options.count} samples"), target)
    print(f"{options.count} samples of {found.model}: {target}")
    return 0
