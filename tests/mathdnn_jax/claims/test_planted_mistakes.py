"""A claim that cannot fail says nothing: for each claim a formula that it is about is broken, and its verdict changes.

What is broken is a function as the claim's module imports it: its sign, a factor, a missing term. For a mistaken
statement, which has a counterexample, the mistake is mended instead.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathdnn_jax.bijectors import invert
from mathdnn_jax.claims import CLAIMS, run_claim

from .mistakes import (
    Mistake,
    attribute,
    both_halves,
    estimator,
    image,
    item,
    log_det,
    nested,
    params_at,
    replaced,
    scaled,
    shifted,
    tree_times,
)

# Many small programs, each run a few times.
pytestmark = pytest.mark.usefixtures("quick_compilation")

BY_ID = {claim.id: claim for claim in CLAIMS}


def module_of(claim_id: str) -> ModuleType:
    return sys.modules[BY_ID[claim_id].property.__module__]


def forget(module: ModuleType) -> None:
    """Forget compiled programs, which contain the right functions or the wrong ones."""
    for value in vars(module).values():
        for name in ("cache_clear", "clear_cache"):
            if callable(getattr(value, name, None)):
                getattr(value, name)()


GROUPS = [("decoder",), ("prior",), ("likelihood",), ("encoder", "mean"), ("encoder", "log_variance"), ("encoder",)]

MISTAKES: list[tuple[str, str, Mistake]] = [
    ("F1.density", "logistic_log_density", scaled()),
    ("F1.density", "logistic", attribute("log_prob", scaled())),
    ("F1.sampler", "logistic_sample", scaled(1.05)),
    ("F1.sampler", "logistic_sample", shifted(0.02)),
    ("E12.zero", "_uniform", lambda f: lambda index: (index + 0.5) / 2**24),
    ("F2.log_det", "nice", log_det(1.2)),
    ("F2.inverse", "nice", image(1.001, "inverse")),
    ("E15.reverse", "scaling", lambda f: lambda dim: invert(f(dim))),
    ("F4.log_det", "real_nvp", log_det(1.001)),
    ("F9.log_det", "glow", log_det(1.001)),
    ("F9.log_det", "glow", image(1.001, "inverse")),
    ("F3.log_det", "affine_coupling", log_det(1.2)),
    ("F3.log_det", "affine_coupling", image(1.001)),
    ("F3.blocks", "affine_coupling", image(-1.0)),
    ("F3.inverse", "affine_coupling", image(1.001, "inverse")),
    ("F5.log_det", "plu", log_det(-1.0)),
    ("F5.log_det", "_matrix", scaled()),
    ("F5.inverse", "plu", image(1.001, "inverse")),
    ("F5.factorisation", "plu_from_matrix", item(1, scaled())),
    ("F7.log_det", "conv1x1", log_det(0.5)),
    ("F6.any_map", "_any_map", nested(item(1, scaled()))),
    ("F6.reshape", "reshape", image(1.2)),
    ("F8.log_det", "conditional_plu_coupling", log_det(1.2)),
    ("F8.log_det", "conditional_plu_coupling", image(1.001)),
    ("E8.block_diagonal", "with_jacobian", item(2, lambda f: lambda: np.diag(np.diagonal(f())))),
    ("F10.derivative", "mixture_cdf", log_det(1.2)),
    ("F10.derivative", "mixture_cdf", image(1.001)),
    ("F10.mass", "mixture_cdf_flow", attribute("log_prob", shifted(0.001))),
    ("F10.inverse", "mixture_cdf", image(1.001, "inverse")),
    ("F10.data", "three_gaussians", scaled(2.0)),
    ("F10.data", "three_gaussians", lambda f: lambda rng, count: f(rng, count, count - count // 3)),
    ("E3.count", "three_gaussians", lambda f: lambda rng, count, last: f(rng, count)),
    ("E16.variances", "three_gaussians", scaled(2.0)),
    ("F11.density", "normal", attribute("log_prob", shifted(0.001))),
    ("F11.nonlinear", "normal", attribute("log_prob", shifted(0.001))),
    ("F11.nonlinear", "_nonlinear", both_halves(item(2, scaled(1.001)))),
    ("F12.threshold", "likelihood_threshold", scaled(1.001)),
    ("F12.errors", "detect", attribute("type_1_errors", lambda f: f + 1)),
    ("V5.error", "_error", scaled()),
    ("V5.detector", "detect_by_error", attribute("threshold", lambda f: 1.001 * f + 1e-3)),
    ("V5.detector", "error_threshold", scaled(1.001)),
    ("B2.course", "_project", scaled(1.001)),
    ("B2.box", "_project", shifted(1e-3)),
    ("F13.white", "corrupt", scaled(0.999)),
    ("C3.any_activation", "_along_a_ray", scaled(0.2)),
    ("C6.gradient", "_by_hand", item(0, scaled(1.001))),
    ("C6.gradient", "_by_hand", item(1, scaled(1.001))),
    ("C6.gradient", "matrix_of", scaled(1.001)),
    ("C6.convolution", "_convolved", scaled(1.001)),
    ("C6.transposed", "_transposed", lambda f: lambda w, u: f(w, u)[::-1]),
    ("C6.no_matrix", "conv1d_backprop", lambda f: lambda *given, **named: (f(*given, **named), f(*given, **named))),
    ("V1.bound", "exact_bound", scaled(1.001)),
    ("V1.equality", "exact_log_marginal", shifted(1e-3)),
    ("V4.supremum", "exact_log_marginal", shifted(1e-3)),
    *(
        (claim, "linear_vae", estimator(params_at(*group)))
        for claim in ("V2.reparameterized", "V2.score_function")
        for group in GROUPS
    ),
    ("V2.score_function", "linear_vae", attribute("log_joint", scaled())),
    ("V2.reparameterized", "diagonal_gaussian_log_prob", scaled()),
    ("V2.variances", "linear_vae", estimator(params_at("encoder", "mean", factor=1.1))),
    ("V2.importance_weighted", "linear_vae", attribute("log_marginal", scaled())),
    ("V2.smaller_variance", "_at_the_posterior", lambda f: lambda params, unit: f(params, 1.0)),
    ("V3.categorical", "_categorical", item(2, scaled(1.001))),
    ("V3.categorical", "_categorical", item(0, shifted(1e-3))),
    ("V3.gaussian", "sine_log_prob", scaled(1.001)),
    ("E14.support", "_uniform", lambda f: lambda phi, h: (1 / phi, 1 / phi)),
    ("G1.convex", "f_divergence", attribute("function", shifted(1e-3))),
    ("G1.domain", "f_divergence", attribute("function", scaled(1.001))),
    ("G1.domain", "f_divergence", attribute("function", lambda f: lambda u: f(abs(u)))),
    ("G1.conjugate", "f_divergence", attribute("conjugate", shifted(1e-3))),
    ("G1.value", "discriminator_value", scaled(1.001)),
    ("G1.value", "optimal_discriminator", scaled(0.999)),
    ("E17.maximum", "optimal_discriminator", lambda f: lambda *given: jnp.clip(f(*given), 0.1, 0.9)),
    ("P1.nonnegative", "_kl", scaled(1.001)),
    ("P1.products", "_product", scaled(1.001)),
    ("P1.densities", "_kl", scaled(1.001)),
    ("P1.densities", "_product", lambda f: lambda parts: f([*parts[:-1], 1.001 * parts[-1]])),
    ("E13.expectation", "_kl", scaled(1.001)),
    ("P2.quadrature", "_gaussian_kl", scaled(1.001)),
    ("P2.diagonal", "_diagonal_kl", scaled(1.001)),
    ("P2.blocks", "_gaussian_kl", shifted(1e-3)),
    ("P3.bounds", "_value", shifted(1e-3)),
    ("P3.gradient", "_gradient", scaled(1.001)),
    ("P3.limit", "_gradient", scaled(1.001)),
    ("P4.exact", "gamblers_ruin_exact", scaled(1.001)),
    ("P4.value", "EXACT", lambda value: 1.001 * value),
    ("P4.estimate", "_estimate", nested(lambda found: found._replace(mean=1.25 * found.mean))),
    ("P4.estimate", "_estimate", nested(lambda found: found._replace(standard_error=1.15 * found.standard_error))),
    ("P4.weights", "_short_game", nested(lambda f: lambda key: f(key)._replace(mean=1.001 * f(key).mean))),
    ("E6.six_decimals", "_estimate", nested(lambda found: jax.tree.map(lambda leaf: 1e6 * leaf, found))),
    ("P5.closed_form", "sine_objective", shifted(1e-3)),
    ("P5.optimum", "SINE_OPTIMUM", lambda known: {**known, "mean": known["mean"] + 1e-6}),
    ("P5.least", "LEAST", lambda known: {**known, "value": known["value"] + 1e-6}),
    ("P5.least", "sine_objective", lambda f: lambda params: f(params) - jnp.where(params["mean"] < 1, 0.05, 0.0)),
    ("P5.least_value", "SINE_OPTIMUM", lambda known: {**known, "value": known["value"] - 1}),
    ("P5.score_function", "sine_log_prob", scaled(1.1)),
    ("P5.score_function", "score_function_gradient", attribute("gradient", tree_times(1.1))),
    ("P5.reparameterized", "reparameterized_gradient", attribute("gradient", tree_times(1.05))),
    ("P5.course_formula", "ROOT_OF_E1", replaced((0.526, 0.790))),
    ("P5.course_reparameterized", "ROOT_OF_E10", replaced((0.3855, 0.41251))),
    ("P5.course_runs", "PRINTED", lambda known: {**known, "reparameterized": (0.324, 0.787)}),
    ("P5.course_runs", "MISTAKEN", lambda loops: (loops[0]._replace(divisor=2), loops[1])),
    ("P5.course_runs", "MISTAKEN", lambda loops: (loops[0], loops[1]._replace(factor=1))),
    ("E1.run", "PRINTED", replaced({"score_function": (0.324, 0.787)})),
    ("E10.run", "PRINTED", replaced({"reparameterized": (0.324, 0.787)})),
    ("E1.expectation", "_mistaken", replaced(lambda params, x: {"log_scale": jnp.zeros(64)})),
    ("E11.order", "STEP_SIZE", replaced(0.0)),
]
# Formulas that are broken one at a time elsewhere: in the tests of the functions that these claims call.
UNBROKEN = {
    *("C1.flax", "C1.running_variance", "C2.before", "C2.folding", "C2.small_net", "C2.stacks", "C3.homogeneous"),
    *("C3.leaky_relu", "C3.left", "C3.relu_alone", "C3.sign_bias", "C4.net2", "C4.strides", "C5.alexnet", "C5.formula"),
    *("C7.closed_form", "C7.law", "C7.sampling", "E1.draws", "E10.expectation", "E16.mean_of_means", "E2.accumulating"),
    *("E4.bisection", "E4.mass", "E5.last_layer", "E7.indicator", "E9.batches", "F10.normalised_mass", "F13.ascent"),
    *("F13.kept", "F13.monotone", "G1.trained", "P4.printed", "V1.bernoulli", "V4.argmax"),
}


# Those whose programs are compiled in no time.
QUICK = {
    *(
        "B2.course",
        "C6.convolution",
        "C6.transposed",
        "E11.order",
        "E12.zero",
        "E13.expectation",
        "E14.support",
    ),
    *("E16.variances", "E3.count", "F1.density", "F1.sampler", "F10.data", "P1.products", "P4.exact", "P4.value"),
    *("P4.weights", "P5.course_reparameterized", "V3.categorical", "V3.gaussian"),
}


@pytest.fixture
def without_shrinking() -> Iterator[None]:
    """Let hypothesis keep the first counterexample: a smaller one would say nothing more."""
    before = hypothesis.settings.default
    hypothesis.settings.register_profile("first counterexample", phases=(hypothesis.Phase.generate,))
    hypothesis.settings.load_profile("first counterexample")
    yield
    hypothesis.settings.register_profile("before", before)
    hypothesis.settings.load_profile("before")


@pytest.mark.usefixtures("without_shrinking")
@pytest.mark.parametrize(
    ("claim_id", "name", "mistake"),
    [pytest.param(*case, marks=() if case[0] in QUICK else pytest.mark.long) for case in MISTAKES],
)
def test_a_broken_formula_changes_the_verdict(
    claim_id: str, name: str, mistake: Mistake, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = module_of(claim_id)
    forget(module)
    monkeypatch.setattr(module, name, mistake(getattr(module, name)))
    try:
        outcome = run_claim(BY_ID[claim_id], examples=10)
    finally:
        monkeypatch.undo()
        forget(module)
    assert not outcome.passed, f"{claim_id} is still found as stated: {outcome.message}"


def test_every_claim_is_broken_here_or_named() -> None:
    broken = {claim_id for claim_id, _, _ in MISTAKES}
    assert broken >= QUICK
    assert broken.isdisjoint(UNBROKEN)
    assert broken | UNBROKEN == set(BY_ID)
