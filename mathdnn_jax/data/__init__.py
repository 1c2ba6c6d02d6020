"""Image data sets by name, and scaling of images to the unit interval."""

from mathdnn_jax.data.dataset import Dataset
from mathdnn_jax.data.images import unit_interval
from mathdnn_jax.data.registry import load
from mathdnn_jax.data.root import data_root

__all__ = ["Dataset", "data_root", "load", "unit_interval"]
