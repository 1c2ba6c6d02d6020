"""What every test shares: strict dtypes, fixed hypothesis profiles, and the real files where they are."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import jax
import pytest

# The tests run in as many processes as there are cores: PyTorch's threads, here and in the processes that tests start,
# would only wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# XLA's older generator of code, in one piece, compiles small programs in two thirds of the time. XLA ends a process
# that gives it a flag it does not know, so only the JAX that this was tried with is given it.
if jax.__version__.startswith("0.10.") and "MATHDNN_OPTIMISED" not in os.environ:
    hasty = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {hasty}".strip()

# Tracing makes many objects that live on: looking for cycles among them at Python's pace is a tenth of the run.
gc.set_threshold(200_000, 50, 100)

REPOSITORY = Path(__file__).resolve().parents[1]

jax.config.update("jax_numpy_dtype_promotion", "strict")

# A fixed profile for CI, so that a red run is a change's fault; MATHDNN_HYPOTHESIS=random explores further.
_unhurried = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("fixed", _unhurried, derandomize=True, max_examples=15, database=None)
hypothesis.settings.register_profile("random", _unhurried, max_examples=200)
hypothesis.settings.load_profile(os.environ.get("MATHDNN_HYPOTHESIS", "fixed"))


def pytest_configure(config: pytest.Config) -> None:
    """Keep compiled programs on disk for this run and this process: many a test compiles what another has compiled.

    A folder for good would be faster the next time, and a run that is killed in the midst of a file would spoil it.
    """
    folder = tempfile.mkdtemp(prefix="mathdnn-programs-")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


# Rooms whose tests run small programs once each, but for the files that train. MATHDNN_OPTIMISED=1 compiles them as
# users' programs are compiled.
QUICK = {
    "bijectors",
    "claims",
    "flows",
    "generative",
    "nets",
    "probability",
    "recipes",
    "surgery",
    "tasks",
    "testing",
    "training",
}


def compiled_quickly(file: Path) -> bool:
    return file.parent.name in QUICK and not file.stem.endswith("_training")


_latest: list[tuple[Path, bool]] = []


@pytest.fixture(scope="module", autouse=True)
def _forget_compiled_programs(request: pytest.FixtureRequest) -> None:
    """All that are compiled in a run take gigabytes; small ones are kept for the other files of their room."""
    kind = request.path.parent, compiled_quickly(request.path)
    if _latest != [kind] or not compiled_quickly(request.path):
        _latest[:] = [kind]
        jax.clear_caches()


@pytest.fixture(scope="module")
def quick_compilation(_forget_compiled_programs: None) -> Iterator[None]:
    """Compiled in half the time, and slower to run; in the processes that tests start too, to round alike."""
    quickly = "MATHDNN_OPTIMISED" not in os.environ
    jax.config.update("jax_disable_most_optimizations", quickly)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", str(quickly))
        yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module", autouse=True)
def _quickly_where_programs_are_small(request: pytest.FixtureRequest) -> None:
    if compiled_quickly(request.path):
        request.getfixturevalue("quick_compilation")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data sets and checkpoints; a stranger's clone does not have it."""
    folder = Path(os.environ.get("MATHDNN_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "checkpoints").is_dir():
        message = f"real files not found: {folder} (set MATHDNN_SHARED to the folder that holds them)"
        if os.environ.get("MATHDNN_REQUIRE_SHARED"):
            pytest.fail(message)
        pytest.skip(message)
    return folder
