"""Settings of all tests: strict dtypes, fixed hypothesis profiles, and the real files if they are available."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import jax
import pytest

# The tests run in as many processes as there are cores. PyTorch's threads, here and in the processes that tests start,
# would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# XLA's older code generator, without splitting modules, compiles small programs in two thirds of the time. XLA ends a
# process that passes an unknown flag, so the flags are only passed to the JAX that they were tried with.
if jax.__version__.startswith("0.10.") and "MATHDNN_OPTIMISED" not in os.environ:
    hasty = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {hasty}".strip()

# Tracing makes many long-lived objects. Searching them for cycles at Python's default rate takes a tenth of the run.
gc.set_threshold(200_000, 50, 100)

REPOSITORY = Path(__file__).resolve().parents[1]

jax.config.update("jax_numpy_dtype_promotion", "strict")

# The profile for CI is fixed, so that a failed run is due to a change. MATHDNN_HYPOTHESIS=random explores further.
_unhurried = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("fixed", _unhurried, derandomize=True, max_examples=15, database=None)
hypothesis.settings.register_profile("random", _unhurried, max_examples=200)
hypothesis.settings.load_profile(os.environ.get("MATHDNN_HYPOTHESIS", "fixed"))


def pytest_configure(config: pytest.Config) -> None:
    """Keep compiled programs on disk for this run and process, because many tests compile the same programs.

    A permanent folder would be faster the next time, but a run that is killed while it writes a file would spoil it.
    """
    folder = tempfile.mkdtemp(prefix="mathdnn-programs-")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


# Folders whose tests run small programs once each, except for the files that train. MATHDNN_OPTIMISED=1 compiles them
# like users' programs.
QUICK = {
    "bijectors",
    "claims",
    "flows",
    "generative",
    "high_precision",
    "ill_conditioned",
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
    """Forget programs, which take gigabytes in a whole run. Small ones are kept for the other files of their folder."""
    kind = request.path.parent, compiled_quickly(request.path)
    if _latest != [kind] or not compiled_quickly(request.path):
        _latest[:] = [kind]
        jax.clear_caches()


@pytest.fixture(scope="module")
def quick_compilation(_forget_compiled_programs: None) -> Iterator[None]:
    """Compile in half the time, to slower programs, also in processes that tests start, so that they round alike."""
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


@pytest.fixture
def heeded_interrupts() -> Iterator[None]:
    """Heed SIGINT, here and in processes that the test starts; a shell's background jobs are born to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data sets and checkpoints, which a clone of the repository does not have."""
    folder = Path(os.environ.get("MATHDNN_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "checkpoints").is_dir():
        message = f"real files not found: {folder} (set MATHDNN_SHARED to the folder that holds them)"
        if os.environ.get("MATHDNN_REQUIRE_SHARED"):
            pytest.fail(message)
        pytest.skip(message)
    return folder
