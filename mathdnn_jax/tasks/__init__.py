"""What the models are for."""

from mathdnn_jax.tasks.anomaly import Detection, Scores, auroc, detect, halve, likelihood_threshold, score
from mathdnn_jax.tasks.inpainting import Inpainted, corrupt, inpaint, rectangle
from mathdnn_jax.tasks.projected_ascent import projected_ascent

__all__ = [
    "Detection",
    "Inpainted",
    "Scores",
    "auroc",
    "corrupt",
    "detect",
    "halve",
    "inpaint",
    "likelihood_threshold",
    "projected_ascent",
    "rectangle",
    "score",
]
