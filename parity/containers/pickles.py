"""A pickle machine that knows only plain containers and tensors, and cannot import or call anything.

Names are looked up in a fixed list of descriptions (`parity.containers.objects`), never in a module. A name that is not
on the list stays a name, whatever the pickle does with it.
"""

from __future__ import annotations

import pickletools
import struct
from itertools import islice
from typing import Any

from parity.containers.budget import ExhaustedError
from parity.containers.instructions import INSTRUCTIONS, STOP, UNITS
from parity.containers.objects import NAMES, BadPickleError, RefusedError
from parity.containers.stack import MAX_FOREIGN, Stack
from parity.display import plain

MAX_PICKLE_BYTES = 2**25
"""Maximum size of the pickles of one file. A state dict of ten thousand tensors takes two million bytes."""

MAX_SCANNED = 30_000
"""Maximum number of instructions of a damaged pickle in which names are looked for."""


class Machine(Stack):
    """Reads one pickle after another from `data`. `foreign` has the names in them that are not on the list."""

    def load(self) -> Any:
        """Read the value of the next pickle.

        Raises:
            RefusedError: It is damaged, or no pickle, and mentions names that are not on the list.
            BadPickleError: It is damaged, or refers to objects outside the file.
            ExhaustedError: It asks for more work than the budget has left.
        """
        start = self.position
        try:
            return self._run()
        except (BadPickleError, LookupError, TypeError, ValueError, struct.error, OverflowError) as error:
            names = [*self.foreign] or forbidden_names(self.data[start : start + 1_000_000])
            if names and not self.skips:
                raise RefusedError(", ".join(names)) from error
            if isinstance(error, BadPickleError):
                raise
            raise BadPickleError(f"{type(error).__name__} at byte {self.position}") from error

    def _run(self) -> Any:
        self.clear()
        data, budget = self.data, self.budget
        while True:
            code = data[self.position]
            self.position += 1
            budget.left -= UNITS[code]
            if budget.left < 0:
                raise ExhaustedError
            if code == STOP:
                return self.stack.pop()
            INSTRUCTIONS[code](self)


def forbidden_names(data: bytes) -> list[str]:
    """The names in the pickle in `data` that are not on the list, found without executing it."""
    names: list[str] = []
    strings: list[str] = []
    try:
        for opcode, argument, _ in islice(pickletools.genops(data), MAX_SCANNED):
            name = None
            if opcode.name in ("GLOBAL", "INST"):
                name = str(argument).replace(" ", ".")
            elif opcode.name == "STACK_GLOBAL":
                name = ".".join(strings[-2:])
            elif opcode.name in ("EXT1", "EXT2", "EXT4"):
                name = f"extension {argument}"
            elif isinstance(argument, str):
                strings.append(argument)
            if name is not None and name not in NAMES:
                names.append(plain(name))
                if len(names) == MAX_FOREIGN:
                    break
    except Exception:
        # From here on the bytes are not a pickle, and genops may raise any error.
        return names
    return names
