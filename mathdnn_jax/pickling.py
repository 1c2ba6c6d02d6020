"""Pickling the named tuples of functions that flows and bijectors are."""

from __future__ import annotations

import pickle
import sys
from typing import Any

from mathdnn_jax.errors import UnpicklableError


def reduce_functions(functions: Any) -> tuple[Any, ...]:
    """The `__reduce__` of a named tuple whose fields can be pickled; for others, an error that says why not.

    Picklers of other libraries, such as cloudpickle, can do more than the standard library's, and are let do it.

    Raises:
        UnpicklableError: a field is a function that exists in this process only.
    """
    caller = sys._getframe(2).f_locals.get("self")
    if not (isinstance(caller, pickle.Pickler) and hasattr(caller, "reducer_override")):
        for name, part in zip(functions._fields, functions, strict=True):
            try:
                pickle.dumps(part)
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                if isinstance(error, UnpicklableError):
                    raise
                raise UnpicklableError(
                    f"this {type(functions).__name__} cannot be pickled, because its `{name}` is a function that was "
                    f"made in this process ({error}): build it anew in the other process, and send the parameters"
                ) from error
    return type(functions), tuple(functions)
