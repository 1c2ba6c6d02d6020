"""Where downloaded data sets are kept."""

from __future__ import annotations

import os
from pathlib import Path

from mathdnn_jax.data.optional import import_optional

ENVIRONMENT_VARIABLE = "MATHDNN_DATA"


def data_root(data_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of the data sets, which need not exist.

    It is `data_dir`, else the environment variable MATHDNN_DATA if it is not empty, else the user's cache
    folder for `mathdnn_jax`. A leading `~` is the home folder.

    Raises:
        MissingDependencyError: neither is given and platformdirs, which knows the cache folder, is absent.
    """
    given = data_dir if data_dir is not None else os.environ.get(ENVIRONMENT_VARIABLE)
    if given:
        return Path(given).expanduser()
    platformdirs = import_optional(
        "platformdirs",
        f"the default data folder (there is none to find with data_dir or {ENVIRONMENT_VARIABLE} set)",
    )
    return Path(platformdirs.user_cache_path("mathdnn_jax"))
