"""Tasks that models are used for: anomaly detection and inpainting."""

from mathdnn_jax.tasks.anomaly import Detection, Scores, auroc, detect, halve, likelihood_threshold, score
from mathdnn_jax.tasks.inpainting import Inpainted, corrupt, inpaint, rectangle
from mathdnn_jax.tasks.projected_ascent import projected_ascent
from mathdnn_jax.tasks.reconstruction import detect_by_error, error_threshold, reconstruction_errors

__all__ = [
    "Detection",
    "Inpainted",
    "Scores",
    "auroc",
    "corrupt",
    "detect",
    "detect_by_error",
    "error_threshold",
    "halve",
    "inpaint",
    "likelihood_threshold",
    "projected_ascent",
    "reconstruction_errors",
    "rectangle",
    "score",
]
