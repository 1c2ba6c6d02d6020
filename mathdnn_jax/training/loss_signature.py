"""The check that a loss takes the arguments that `fit` passes, before anything is compiled."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.training.update import Loss, Update


def check_loss(loss: Loss | Mapping[str, Loss] | Update, *, has_state: bool, masked: bool) -> None:
    """Check the signature of a loss, or of each player's; an `Update` has its own.

    Raises:
        ConfigurationError: It cannot be called as `fit` calls it.
    """
    if isinstance(loss, Update):
        return
    arguments = ("params", "state", "batch", "key") if has_state else ("params", "batch", "key")
    keywords = ("mask",) if masked else ()
    call = ", ".join([*arguments, *(f"{name}={name}" for name in keywords)])
    for name, function in loss.items() if isinstance(loss, Mapping) else [("loss", loss)]:
        if not callable(function):
            raise ConfigurationError(f"given {function!r} as {name}: fit needs a function, called as {name}({call})")
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):  # some functions that are written in C do not tell
            continue
        try:
            signature.bind(*arguments, **dict.fromkeys(keywords))
        except TypeError as error:
            raise ConfigurationError(
                f"given {name}{signature}: fit calls {name}({call}) here ({error}); state is passed if fit is given "
                f"one, mask with remainder='pad'"
            ) from error
