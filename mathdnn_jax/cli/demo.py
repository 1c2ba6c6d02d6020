"""Train a small PyTorch flow, convert and certify it, detect anomalies, draw samples, and write report.html."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mathdnn_jax import data
from mathdnn_jax.cli import arguments
from mathdnn_jax.cli.anomaly import AnomalyResult, describe, detect_anomalies
from mathdnn_jax.cli.outputs import add_output_arguments, output_path
from mathdnn_jax.cli.report import Section, page, picture, preformatted, table
from mathdnn_jax.errors import MissingDependencyError, OutputError
from mathdnn_jax.files import check_writable, replace_file
from mathdnn_jax.plots import anomaly_figure, grid_figure
from mathdnn_jax.progress import progress

if TYPE_CHECKING:
    from mathdnn_jax.flows import Flow

LEVELS = 17
"""Number of grey values in the digits; the photographs are quantised to the same values."""

EPOCHS = 150
SAMPLES = 40


class DemoResult(NamedTuple):
    """The results of the demo, for its report."""

    certificate: dict[str, Any]
    detection: AnomalyResult
    samples: np.ndarray
    commands: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_output_arguments(parser, "folder for the results", "demo")
    parser.add_argument(
        "--seed", type=arguments.seed, default=0, help="seed of the training and the samples (default: 0)"
    )


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    folder = output_path(options, "demo")
    check_dependencies()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot create the folder {folder}: {error}") from error
    report = check_writable(folder / "report.html")
    if (folder / "nice.pt").exists() and not report.exists():
        raise OutputError(f"{folder} has a nice.pt that is not from this demo; name another folder with --output")

    result = run_demo(folder, options.seed)
    with replace_file(report) as temporary:
        temporary.write_text(render(result), encoding="utf-8")
    # The program as it was called, so that the line can be pasted even if the environment is not activated.
    program = sys.argv[0] if Path(sys.argv[0]).name == "mathdnn" else "mathdnn"
    next_command = result.commands.splitlines()[0].replace("mathdnn", program, 1)
    print(f"\n{describe(result.detection)}\n\nreport: {report}\ntry next: {next_command}")
    return 0


def check_dependencies() -> None:
    """Raise MissingDependencyError now, rather than half way through, if a package that the demo needs is missing."""
    for package in ("torch", "safetensors"):
        if importlib.util.find_spec(package) is None:
            raise MissingDependencyError(f'the demo needs {package}: pip install "mathdnn_jax[parity]"')
    data.load("photographs")
    grid_figure(np.zeros((1, 1, 1)), 1, "")


def run_demo(folder: Path, seed: int) -> DemoResult:
    """Train in PyTorch, save, convert, certify, detect anomalies and sample, on data that come with scikit-learn."""
    import parity
    from parity.reference.train import train_nice

    images = data.load("digits", "train").images
    with progress("training NICE in PyTorch, epochs", EPOCHS) as advance:
        module = train_nice(data.unit_interval(images), levels=LEVELS, epochs=EPOCHS, seed=seed, on_epoch=advance)
    checkpoint, converted = folder / "nice.pt", folder / "nice.safetensors"
    parity.save_state(checkpoint, {name: tensor.numpy() for name, tensor in module.state_dict().items()})
    print(f"wrote {checkpoint}, a PyTorch state dict")

    flow, params, _, _ = parity.restore(checkpoint)
    parity.save_params(converted, params)
    print(f"wrote {converted}, the same weights for JAX")
    test = data.load("digits").images
    certificate = parity.certify(
        checkpoint,
        inputs=data.unit_interval(test).reshape(len(test), -1),
        output=folder / "nice.certificate.json",
    )
    print(f"certified {len(certificate['layers'])} layers on {len(test)} digits; the weights come back bit for bit")
    return DemoResult(
        certificate=certificate,
        detection=detect_anomalies(flow, params, test, data.load("photographs").images),
        samples=draw(flow, params, seed),
        commands=(
            f"mathdnn anomaly --checkpoint {checkpoint} --inlier digits --outlier photographs\n"
            f"mathdnn certify {checkpoint} --inputs digits\n"
            f"mathdnn convert {checkpoint} {converted}"
        ),
    )


def draw(flow: Flow, params: Any, seed: int) -> np.ndarray:
    """Draw samples of the flow as square images."""
    import jax

    side = int(np.sqrt(flow.prior.event_shape[0]))
    samples = jax.jit(flow.sample, static_argnums=2)(params, jax.random.key(seed), (SAMPLES,))
    return np.asarray(samples).reshape(SAMPLES, side, side)


def render(result: DemoResult) -> str:
    """Render the report as one self-contained HTML page."""
    certificate, found = result.certificate, result.detection
    figure = anomaly_figure(
        found.detection,
        ("digits", found.inlier_images, found.inlier_log_prob),
        ("photographs", found.outlier_images, found.outlier_log_prob),
    )
    rows = [
        (
            layer["layer"],
            f"{layer['jax_float32_error']['rms']:.2e}",
            f"{layer['torch_float32_error']['rms']:.2e}",
            f"{layer['jax_to_torch_float32']['absolute']['greatest']:.2e}",
            f"{layer['jax_to_torch_float64']:.1e}",
            "passed" if layer["passed"] else "failed",
        )
        for layer in certificate["layers"]
    ]
    headings = ("layer", "JAX rms error", "PyTorch rms error", "greatest difference", "in float64", "")
    versions = ", ".join(f"{name} {number}" for name, number in certificate["versions"].items())
    sections = [
        Section(
            "Anomalies detected by the converted flow",
            "A NICE flow was trained in PyTorch on scikit-learn's handwritten digits and converted to JAX. It then "
            "computed log p(x) for unseen digits and for patches of photographs with the same grey values.",
            picture(figure, "histograms of log-likelihoods and extreme images") + preformatted(describe(found)),
        ),
        Section(
            "Samples of the flow",
            "Samples are logistic noise, mapped through the inverse of the flow.",
            picture(grid_figure(result.samples, 10, ""), "samples of the flow"),
        ),
        Section(
            "Nothing changed in the conversion",
            f"Errors are against PyTorch in float64, on {certificate['inputs']['events']:,} test digits. The weights "
            f"come back bit for bit. {certificate['rule']['text']}",
            table(headings, rows),
        ),
        Section("Try it", "The same steps on the command line:", preformatted(result.commands)),
        Section("Made with", f"{versions}; JAX on {certificate['backend']['device']}.", ""),
    ]
    return page("A PyTorch flow, converted to JAX, certified and put to work", sections)
