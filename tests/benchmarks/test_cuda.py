"""Features that only a GPU has: their logic with a simulated CUDA, and the stand-ins of a dry run."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="these are PyTorch's")

from benchmarks.case import Contender, Settings  # noqa: E402
from benchmarks.frameworks import cuda, on_jax, on_torch  # noqa: E402
from benchmarks.frameworks.train_jax import step_contender  # noqa: E402
from benchmarks.frameworks.train_torch import Objective, training_baselines  # noqa: E402
from benchmarks.workloads import generative  # noqa: E402
from mathdnn_jax.errors import ConfigurationError  # noqa: E402

# PyTorch warns about its own use of a deprecated function.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")

STAND_IN = Settings(quick=True, modes=cuda.MODES, stand_in=True)


class PretendedCuda:
    """The part of `torch.cuda` that a capture uses; it records what happens, and a replay runs what was captured."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.captured: Callable[[], Any] | None = None
        self.now = 0.0
        outer = self

        class Stream:
            def wait_stream(self, other: object) -> None:
                del other
                outer.log.append("wait")

        class CUDAGraph:
            def replay(self) -> None:
                outer.log.append("replay")

        class Event:
            def __init__(self, *, enable_timing: bool) -> None:
                assert enable_timing

            def record(self) -> None:
                self.at = outer.now

            def elapsed_time(self, other: Any) -> float:
                return float(other.at - self.at)

        self.Stream, self.CUDAGraph, self.Event = Stream, CUDAGraph, Event

    def current_stream(self) -> Any:
        return self.Stream()

    @contextmanager
    def stream(self, stream: object) -> Iterator[None]:
        del stream
        self.log.append("side stream")
        yield
        self.log.append("main stream")

    @contextmanager
    def graph(self, graph: object, capture_error_mode: str) -> Iterator[None]:
        del graph
        # JAX's threads continue while PyTorch captures.
        assert capture_error_mode == "thread_local"
        self.log.append("capture")
        yield
        self.log.append("captured")

    def synchronize(self) -> None:
        self.log.append("synchronize")


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> PretendedCuda:
    """PyTorch with a simulated GPU."""
    found = PretendedCuda()
    names = ("Stream", "CUDAGraph", "Event", "current_stream", "stream", "graph", "synchronize")
    for name in names:
        monkeypatch.setattr(torch.cuda, name, getattr(found, name))
    return found


def test_work_is_warmed_up_on_another_stream_before_it_is_captured(pretended: PretendedCuda) -> None:
    result = torch.zeros(2)

    def work() -> Any:
        pretended.log.append("work" if gc.isenabled() or "capture" not in pretended.log else "work, nothing collected")
        return result

    replay = cuda.capture(work)
    assert gc.isenabled()
    warm = ["work"] * cuda.WARM_UP
    assert pretended.log == [
        "wait", "side stream", *warm, "main stream", "wait", "capture", "work, nothing collected", "captured"
    ]  # fmt: skip
    assert replay() is result
    # A replay launches what was captured, and does not call the work again.
    assert pretended.log[-1] == "replay"
    assert pretended.log.count("work") == cuda.WARM_UP


def test_garbage_is_collected_again_after_a_failed_capture(pretended: PretendedCuda) -> None:
    def work() -> Any:
        if "capture" in pretended.log:
            raise RuntimeError("it cannot be captured")
        return torch.zeros(1)

    with pytest.raises(RuntimeError, match="it cannot be captured"):
        cuda.capture(work)
    assert gc.isenabled()


def test_seconds_between_events_wait_for_the_device(pretended: PretendedCuda) -> None:
    def run() -> None:
        pretended.now += 2500.0  # events tell milliseconds

    assert cuda.device_seconds(run) == 2.5
    assert pretended.log == ["synchronize"]
    assert on_torch.device_seconds(run) is None  # this process computes on a processor


def test_the_stand_in_overwrites_its_result_and_a_capture_computes_nothing() -> None:
    held, count = torch.tensor([1.0]), []

    def work() -> Any:
        count.append(0)
        return held * len(count)

    replay = cuda.capture(work, stand_in=True)
    assert len(count) == cuda.WARM_UP
    first = replay()
    assert first.tolist() == [cuda.WARM_UP + 1]
    assert replay() is first
    assert first.tolist() == [cuda.WARM_UP + 2]


@pytest.mark.parametrize("mode", cuda.MODES)
def test_results_of_a_mode_with_graphs_outlive_the_next_call(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    marks, asked, buffer = [], [], torch.zeros(1)

    def compiled(function: Callable[..., Any], *, dynamic: bool, **how: Any) -> Callable[..., Any]:
        asked.append((dynamic, how))

        def call(x: Any) -> Any:
            # As with CUDA graphs, every call writes to the same memory.
            return (buffer.copy_(function(x)),) if mode in cuda.WITH_GRAPHS else (function(x),)

        return call

    monkeypatch.setattr(torch, "compile", compiled)
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: marks.append("step"))
    call = cuda.compile_in_mode(lambda x: 2 * x, mode)
    first, second = call(torch.ones(1)), call(torch.full((1,), 5.0))
    assert (float(first[0]), float(second[0])) == (2.0, 10.0)
    assert asked == [(False, {"mode": mode})]
    assert len(marks) == (2 if mode in cuda.WITH_GRAPHS else 0)


def test_an_unknown_mode_is_an_error_before_the_work() -> None:
    with pytest.raises(ConfigurationError, match=r"given fast; .* modes default, reduce-overhead, max-autotune"):
        on_torch.compile_modes(Settings(modes=("fast",)))


def test_memory_is_reported_only_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert on_torch.peak_bytes() is None
    on_torch.forget_peak()
    forgotten = []
    monkeypatch.setattr(on_torch, "device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 7)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: forgotten.append(1))
    on_torch.forget_peak()
    assert (on_torch.peak_bytes(), forgotten) == (7, [1])


def _objective() -> Objective:
    torch.manual_seed(0)
    return Objective(torch.nn.Linear(3, 1), lambda module, rows: module(rows).square().mean())


def test_every_way_to_train_takes_the_same_steps_and_so_do_stand_ins() -> None:
    rows = torch.from_numpy(np.random.default_rng(0).standard_normal((8, 3), dtype=np.float32))
    runs = training_baselines(
        _objective(), 0.1, lambda: rows.split(2), STAND_IN, restart=True, read=lambda losses: losses
    )
    assert {"CUDA graphs, fused Adam", "compiled, max-autotune, fused Adam"} < runs.keys()
    expected = runs["eager"]()
    assert len(set(expected.tolist())) == 4
    for name, run in runs.items():
        # The second run too: whatever a capture or the first run changed is restored.
        for _ in range(2):
            torch.testing.assert_close(run(), expected, msg=name)


def players_runs(modules: dict[str, Any], batches: tuple[Any, ...]) -> tuple[Contender, Contender]:
    """The training of a GAN's players, eager and as a captured graph."""
    runs = training_baselines(
        generative.gan_objectives(modules, 2),
        generative.GAN_RATE,
        lambda: batches,
        STAND_IN,
        restart=True,
        betas=generative.BETAS,
    )
    return runs["eager, fused Adam"], runs["CUDA graphs, fused Adam"]


def test_both_players_take_the_same_steps_with_a_stand_in() -> None:
    modules = {
        "generator": torch.nn.Linear(2, 3),
        "discriminator": torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.Flatten(0)),
    }
    batches = torch.rand(6, 3).split(2)
    eager, captured = players_runs(modules, batches)

    def losses(run: Callable[[], Any]) -> Any:
        torch.manual_seed(1)
        return run()

    # The first run captures, which draws noise; its training is undone, as the next runs show.
    losses(captured)
    for _ in range(2):
        torch.testing.assert_close(losses(captured), losses(eager))


def test_a_capture_leaves_no_trace_in_the_first_run() -> None:
    # The generator's images do not depend on the noise, so that drawing more noise changes nothing.
    generator = torch.nn.Linear(2, 3)
    torch.nn.init.zeros_(generator.weight)
    generator.weight.requires_grad_(False)
    discriminator = torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.Flatten(0))
    modules, batches = {"generator": generator, "discriminator": discriminator}, torch.rand(6, 3).split(2)
    eager, captured = players_runs(modules, batches)
    torch.testing.assert_close(captured(), eager())


def test_the_memory_of_a_gpu_is_given_back_between_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: given.append(1))
    on_torch.forget_compiled()
    assert given == []
    monkeypatch.setattr(on_torch, "device", lambda: torch.device("cuda"))
    on_torch.forget_compiled()
    assert given == [1]


def test_the_memory_of_jax_is_what_its_device_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    assert on_jax.peak_bytes() is None  # a processor keeps no account
    device = SimpleNamespace(memory_stats=lambda: {"peak_bytes_in_use": 7, "bytes_in_use": 3})
    monkeypatch.setattr(jax, "devices", lambda: [device])
    assert on_jax.peak_bytes() == 7


@pytest.mark.parametrize("restart", [False, True])
def test_a_step_reuses_the_memory_of_its_weights_but_not_of_the_callers(restart: bool) -> None:
    weights = {"w": jax.numpy.ones((4,))}
    run, lowered = step_contender(
        lambda params, rows, key: ((rows - params["w"]) ** 2).mean(), weights, [jax.numpy.zeros((2, 4))], 0.1, STAND_IN,
        restart=restart,
    )  # fmt: skip
    # The weights, Adam's two averages and its count: four results reuse the memory of an argument.
    assert lowered().as_text().count("tf.aliasing_output") == 4
    first, second = float(run()[0]), float(run()[0])
    assert (first == second) == restart
    assert weights["w"].tolist() == [1.0] * 4


def test_foreach_adam_is_not_a_separate_baseline_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def ways() -> set[str]:
        objective = Objective(torch.nn.Linear(2, 2), lambda module, rows: module(rows).mean())
        return set(training_baselines(objective, 1e-3, list, STAND_IN._replace(modes=()), restart=False))

    assert ways() == {"eager", "eager, fused Adam", "eager, foreach Adam", "CUDA graphs, fused Adam"}
    monkeypatch.setattr(on_torch, "device", lambda: torch.device("cuda"))
    assert ways() == {"eager", "eager, fused Adam", "CUDA graphs, fused Adam"}
