"""The models that can be converted by name, each in a file of its own."""

from parity.models.model import Config, Model, target_shapes
from parity.models.registry import MODELS, find_model

__all__ = ["MODELS", "Config", "Model", "find_model", "target_shapes"]
