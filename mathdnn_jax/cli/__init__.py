"""The command line, the only package that imports both the library and `parity`."""

from mathdnn_jax.cli.main import main

__all__ = ["main"]
