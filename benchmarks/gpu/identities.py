"""Identities that the models must satisfy on the device in each precision, within a bound derived from the precision.

A computation in a precision of relative step h may be off by as much as the result changes when inputs and parameters
are moved by h, plus h times the size of the result, both as root mean squares. Entries are moved up and down at random,
like rounding to nearest, and all towards zero, like truncation; the larger change counts. The changes are computed in
float64, so that the bound does not depend on the device. Products in TF32 or bfloat16 break the bound of float32.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.case import Settings
from benchmarks.frameworks import on_jax
from benchmarks.frameworks.precision import precision_of_both
from benchmarks.gpu.failure import as_record
from benchmarks.workloads import nice_model, small_net
from benchmarks.workloads.image_flows import away_from_zero, build_flow
from mathdnn_jax.flows import Flow, glow, nice, real_nvp
from mathdnn_jax.surgery import remove_batch_norm

STEPS = {"f32": 2.0**-19, "tf32": 2.0**-10, "bf16": 2.0**-8}
"""The step h of each precision: 32 roundings of float32, which covers the sums of a long product; the last bit of TF32,
which a tensor core may truncate; half of the last bit of bfloat16, which rounds to nearest."""
DIRECTIONS = 4
NOISE = 0.005
"""Standard deviation of the noise on parameters of image flows; with more, a Glow amplifies rounding a millionfold."""
BATCH, FEW = 64, 4
ORDER = (
    ("nice", "f32"), ("small_net", "f32"), ("nice", "tf32"), ("small_net", "tf32"), ("nice", "bf16"),
    ("small_net", "bf16"), ("glow", "f32"), ("real_nvp", "f32"), ("glow", "tf32"), ("real_nvp", "tf32"),
    ("glow", "bf16"), ("real_nvp", "bf16"),
)  # fmt: skip
"""Dense and convolutional networks come first, as they compile in seconds; image flows take tens of seconds."""
SPARE = 15.0
"""No further model is begun with fewer seconds left than this."""
REHEARSED = 7
"""Number of entries of `ORDER` that a dry run covers."""


class Comparison(NamedTuple):
    """What was computed, what it must equal, and the greatest root-mean-square difference allowed."""

    identity: str
    given: np.ndarray
    expected: np.ndarray
    bound: float


Compare = Callable[[str], Iterator[Comparison]]


def identities(
    rehearsal: bool, left: Callable[[], float], subjects: Mapping[str, Compare] | None = None
) -> Iterator[tuple[str, Any]]:
    """Yield ("identity", …) for each model, precision and identity: the number of values, the error, and the bound.

    A model that raises does not pass, and the run continues with the next. With fewer seconds left than `SPARE`, no
    further model is begun.
    """
    subjects = subjects or _subjects(rehearsal)
    for name, precision in ORDER[:REHEARSED] if rehearsal else ORDER:
        if left() < SPARE:
            return
        began, about = time.monotonic(), {"of": name, "precision": precision}
        try:
            with precision_of_both(precision, stand_in=rehearsal):
                for comparison in subjects[name](precision):
                    yield "identity", {**about, **outcome(comparison), "seconds": time.monotonic() - began}
        except Exception as error:
            nothing = outcome(Comparison("raised", np.empty(0), np.empty(0), 0.0))
            yield "identity", {**about, **nothing, **as_record(error), "seconds": time.monotonic() - began}


def outcome(comparison: Comparison) -> dict[str, Any]:
    """Return the outcome of a comparison. NaN, unequal shapes and an empty comparison never pass."""
    identity, given, expected, bound = comparison
    about = {"identity": identity, "values": int(expected.size), "bound": bound if np.isfinite(bound) else None}
    finite = np.isfinite(given).all() and np.isfinite(expected).all() and np.isfinite(bound)
    if given.shape != expected.shape or not expected.size or not finite:
        return {**about, "passed": False, "rms_error": None}
    error = _rms(given - expected)
    return {**about, "passed": error <= bound, "rms_error": error}


def of_flow(flow: Flow, params: Any, x: np.ndarray) -> Compare:
    """Compare values, log-determinants, inverse and gradient of a flow in a precision with those in float64."""

    @jax.jit
    def everything(params: Any, x: jax.Array, z: jax.Array) -> dict[str, jax.Array]:
        value, log_det = flow.bijector.forward(params, x)
        back, back_log_det = flow.bijector.inverse(params, z)
        slope = jax.grad(lambda x: flow.log_prob(params, x).sum())(x)
        return {"z": value, "log_det": log_det, "x": back, "inverse log_det": back_log_det, "slope": slope}

    def compare(precision: str) -> Iterator[Comparison]:
        step = STEPS[precision]
        low, events = on_jax.cast(params, precision), on_jax.cast(x, precision)
        shape = jax.eval_shape(flow.bijector.forward, low, events)[0]
        z = everything(low, events, jnp.zeros(shape.shape, shape.dtype))["z"]
        here = jax.tree.map(as_float64, everything(low, events, z))
        truth, bound = in_float64(everything, (low, events, z), step)
        # The z given to the inverse may be off by its own bound, and the inverse propagates this error.
        moved_z = as_float64(z) + bound["z"] * np.random.default_rng(DIRECTIONS).choice([-1.0, 1.0], z.shape)
        moved = _exactly(everything, (low, events, moved_z))
        carried = {name: _rms(moved[name] - truth[name]) for name in ("x", "inverse log_det")}
        yield Comparison("z = f(x)", here["z"], truth["z"], bound["z"])
        yield Comparison("log|det ∂z/∂x|", here["log_det"], truth["log_det"], bound["log_det"])
        yield Comparison("∂ log p / ∂x", here["slope"], truth["slope"], bound["slope"])
        yield Comparison("f⁻¹(f(x)) = x", here["x"], as_float64(events), carried["x"] + bound["x"])
        both = here["log_det"] + here["inverse log_det"]
        allowed = carried["inverse log_det"] + bound["inverse log_det"] + bound["log_det"]
        yield Comparison("the two log-determinants cancel", both, np.zeros_like(both), allowed)

    return compare


def of_small_net(rehearsal: bool) -> Compare:
    """Compare the outputs of smallNet, with and without folded batch norms, with those of smallNet in float64."""
    network, variables, _ = small_net.prepare(Settings(quick=rehearsal))
    folded, folded_variables, _ = remove_batch_norm(network, variables)
    images = np.random.default_rng(0).random((FEW if rehearsal else BATCH, 32, 32, 3), dtype=np.float32)
    apply, apply_folded = jax.jit(network.apply), jax.jit(folded.apply)

    def compare(precision: str) -> Iterator[Comparison]:
        low, events = on_jax.cast(variables, precision), on_jax.cast(images, precision)
        truth, bound = in_float64(lambda *arguments: {"outputs": apply(*arguments)}, (low, events), STEPS[precision])
        outputs = as_float64(apply(low, events))
        without = as_float64(apply_folded(on_jax.cast(folded_variables, precision), events))
        yield Comparison("outputs", outputs, truth["outputs"], bound["outputs"])
        # Folded weights are products of the original weights, rounded once more.
        yield Comparison("outputs without batch norms", without, truth["outputs"], 2 * bound["outputs"])

    return compare


def in_float64(
    function: Callable[..., dict[str, Any]], arguments: tuple[Any, ...], step: float
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Return the results in float64, and their bounds as derived in the module's docstring."""
    truth = _exactly(function, arguments)
    moved = [_exactly(function, _moved(arguments, step, seed)) for seed in range(DIRECTIONS)]
    shrunk = _exactly(function, _moved(arguments, step, None))
    bounds = {}
    for name, value in truth.items():
        at_random = np.sqrt(np.mean([_rms(other[name] - value) ** 2 for other in moved]))
        bounds[name] = float(max(at_random, _rms(shrunk[name] - value)) + step * _rms(value))
    return truth, bounds


def as_float64(array: Any) -> np.ndarray:
    """Return the array on the host, in float64."""
    return np.asarray(array, np.float64)


def _exactly(function: Callable[..., dict[str, Any]], arguments: tuple[Any, ...]) -> dict[str, np.ndarray]:
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        results: dict[str, np.ndarray] = jax.tree.map(as_float64, function(*jax.tree.map(_wide, arguments)))
    return results


def _wide(leaf: Any) -> jax.Array:
    array = np.asarray(leaf)
    return jnp.asarray(array, array.dtype if array.dtype.kind in "iub" else jnp.float64)


def _moved(arguments: tuple[Any, ...], step: float, seed: int | None) -> tuple[Any, ...]:
    """Move every entry a of the arguments by ± step · |a| at random, or towards zero if there is no seed."""
    rng = np.random.default_rng(seed)

    def move(leaf: Any) -> Any:
        array = np.asarray(leaf)
        if array.dtype.kind in "iub":
            return leaf
        signs = -np.ones(array.shape) if seed is None else rng.choice([-1.0, 1.0], array.shape)
        return as_float64(array) * (1 + step * signs)

    moved: tuple[Any, ...] = jax.tree.map(move, arguments)
    return moved


def _rms(array: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(array))))


def _subjects(rehearsal: bool) -> dict[str, Compare]:
    """Return the models; each is prepared when it is first compared."""
    count = FEW if rehearsal else BATCH

    def nice_of_images() -> Compare:
        model = nice_model.prepare(Settings(quick=rehearsal))
        return of_flow(
            nice(**model.config), away_from_zero(model.params), nice_model.images(count, model.config["dim"])
        )

    def image_flow(build: Callable[..., Flow]) -> Compare:
        flow, shape = build_flow(build, tiny=rehearsal)
        images = np.random.default_rng(0).random((count, *shape), dtype=np.float32)
        return of_flow(flow, away_from_zero(jax.jit(flow.init)(jax.random.key(0)), NOISE), images)

    prepare = {
        "nice": nice_of_images,
        "small_net": lambda: of_small_net(rehearsal),
        "real_nvp": lambda: image_flow(real_nvp),
        "glow": lambda: image_flow(glow),
    }
    return {name: _once(make) for name, make in prepare.items()}


def _once(make: Callable[[], Compare]) -> Compare:
    made: list[Compare] = []

    def compare(precision: str) -> Iterator[Comparison]:
        if not made:
            made.append(make())
        yield from made[0](precision)

    return compare
