"""The start of the program, as `mathdnn` or `python -m mathdnn_jax`."""

import sys

from mathdnn_jax.signals import watch_signals


def main() -> int:
    """Run the command line, with SIGINT and SIGTERM heard from before its imports to the end of the process."""
    watch_signals()
    from mathdnn_jax.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(main())
