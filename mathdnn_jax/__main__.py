"""`python -m mathdnn_jax`: the command line without an installed script."""

import sys

from mathdnn_jax.cli import main

if __name__ == "__main__":
    sys.exit(main())
