"""What the models are for."""

from mathdnn_jax.tasks.anomaly import Detection, Scores, auroc, detect, halve, likelihood_threshold, score

__all__ = ["Detection", "Scores", "auroc", "detect", "halve", "likelihood_threshold", "score"]
