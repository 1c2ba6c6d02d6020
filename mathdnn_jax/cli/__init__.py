"""The command line: the roof of the house, the one place that imports both the library and `parity`."""

from mathdnn_jax.cli.main import main

__all__ = ["main"]
