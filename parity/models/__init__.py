"""The models that can be converted by name; what parity knows of each is in a file of its own."""

from parity.models.registry import MODELS, Config, Model, find_model, target_shapes

__all__ = ["MODELS", "Config", "Model", "find_model", "target_shapes"]
