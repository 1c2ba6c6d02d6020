"""The work that reading one file may take, in proportion to the file's size."""

from __future__ import annotations

ALLOWANCE = 1_200_000
"""Units of work that any file may take. A tensor in a pickle takes about 100."""
BYTES_PER_UNIT = 32
"""The bytes of a file that earn it one more unit."""


class ExhaustedError(Exception):
    """The file has no budget left. The reader adds its name and size."""


class Budget:
    """Units of work that are left. One unit stands for at most a microsecond, and for 40 bytes of memory.

    Every step of a reader is paid before it is made: a few bytes of a pickle can name a long list again and again, so
    the number of its instructions says little about the work that they ask for.
    """

    def __init__(self, size: int) -> None:
        self.left = ALLOWANCE + size // BYTES_PER_UNIT

    def pay(self, units: int) -> None:
        """Take `units` from the budget.

        Raises:
            ExhaustedError: There are not so many left.
        """
        self.left -= units
        if self.left < 0:
            raise ExhaustedError
