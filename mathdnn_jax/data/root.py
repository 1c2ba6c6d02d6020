"""The folder of downloaded data sets."""

from __future__ import annotations

import os
from pathlib import Path

from mathdnn_jax.data.optional import import_optional

ENVIRONMENT_VARIABLE = "MATHDNN_DATA"


def data_root(data_dir: str | os.PathLike[str] | None = None) -> Path:
    """Find the folder of the data sets.

    It is `data_dir`, else the value of the environment variable MATHDNN_DATA if it is not empty, else the user's cache
    folder for `mathdnn_jax`. A leading `~` stands for the home folder.

    Returns:
        The folder, which may not exist.

    Raises:
        MissingDependencyError: Neither is given, and platformdirs, which finds the cache folder, is not installed.
    """
    given = data_dir if data_dir is not None else os.environ.get(ENVIRONMENT_VARIABLE)
    if given:
        return Path(given).expanduser()
    platformdirs = import_optional(
        "platformdirs",
        f"the default data folder (not needed with data_dir or {ENVIRONMENT_VARIABLE} set)",
    )
    return Path(platformdirs.user_cache_path("mathdnn_jax"))
