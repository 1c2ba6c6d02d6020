"""Training in one compiled program, on one device or many, with checkpoints to resume a killed run from."""

from mathdnn_jax.signals import stop_on_signals
from mathdnn_jax.training.checkpoints import Checkpoints
from mathdnn_jax.training.fit import fit
from mathdnn_jax.training.guard import all_finite
from mathdnn_jax.training.history import EpochReport, FitResult, History
from mathdnn_jax.training.placement import device_mesh, shard_wide_layers
from mathdnn_jax.training.processes import join_processes
from mathdnn_jax.training.stream import Source, Stream, stream
from mathdnn_jax.training.update import Stepped, Update, alternating_update, gradient_update

__all__ = [
    "Checkpoints",
    "EpochReport",
    "FitResult",
    "History",
    "Source",
    "Stepped",
    "Stream",
    "Update",
    "all_finite",
    "alternating_update",
    "device_mesh",
    "fit",
    "gradient_update",
    "join_processes",
    "shard_wide_layers",
    "stop_on_signals",
    "stream",
]
