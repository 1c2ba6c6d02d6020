"""Every public name explains itself, and every example in a docstring prints what it says."""

from __future__ import annotations

import doctest
import inspect
from importlib import import_module
from typing import Any

import pytest

import mathdnn_jax

from .public import ROOMS, public_objects

# Examples are small programs that run once.
pytestmark = pytest.mark.usefixtures("quick_compilation")

PUBLIC = public_objects()
MODULES = {name: import_module(name) for name in ("mathdnn_jax", *ROOMS)}

# What a newcomer calls first.
SHOWN = [
    "alexnet", "autoencoder", "bijectors.additive_coupling", "bijectors.affine_coupling", "bijectors.dequantize",
    "bijectors.plu", "bijectors.rational_quadratic_coupling", "bijectors.scaling", "chain", "check_bijector",
    "conv1d_backprop", "conv_relu_bn", "count_operations", "dense_to_conv", "fit", "flow", "flows.bits_per_dim",
    "fold_batch_norm", "fold_batch_norms", "frequency_domain", "gan", "glow", "invert", "keep_freed_memory",
    "mixture_cdf_flow", "nice", "probability.gaussian_kl", "probability.importance_sampling", "real_nvp",
    "remove_batch_norm", "small_net", "to_sign_bias", "vae",
]  # fmt: skip
SHOWN = [f"mathdnn_jax.{name}" for name in SHOWN] + [
    f"parity.{name}" for name in ("certify", "convert", "export", "infer_rules", "load")
]


def examples(name: str, thing: Any) -> list[doctest.DocTest]:
    return [test for test in doctest.DocTestFinder(recurse=False).find(thing, name, globs={}) if test.examples]


# A name that stands at the root and in its room has one docstring, which is tested once.
EXAMPLES = list({id(thing): name for name, thing in (PUBLIC | MODULES).items() if examples(name, thing)}.values())


@pytest.mark.parametrize("name", sorted(name for name, thing in PUBLIC.items() if inspect.isfunction(thing)))
def test_a_public_function_says_what_it_returns(name: str) -> None:
    text = inspect.getdoc(PUBLIC[name]) or ""
    assert "Returns:" in text or ">>>" in text, f"{name} has neither a section Returns nor an Example"


@pytest.mark.parametrize("name", sorted(name for name, thing in PUBLIC.items() if inspect.isclass(thing)))
def test_a_public_class_has_a_docstring_of_its_own(name: str) -> None:
    text = PUBLIC[name].__doc__
    # Python writes "Name(field, …)" itself for named tuples and dataclasses that have none.
    assert text, name
    assert not text.startswith(f"{PUBLIC[name].__name__}("), name


@pytest.mark.parametrize("name", SHOWN)
def test_what_newcomers_call_first_has_an_example(name: str) -> None:
    assert examples(name, PUBLIC[name])


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_prints_what_it_says(name: str) -> None:
    (example,) = examples(name, (PUBLIC | MODULES)[name])
    assert example.docstring is not None
    if "torch" in example.docstring.partition(">>>")[2]:
        pytest.importorskip("torch", reason="the example shows a PyTorch network")
    report: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=report.append)
    assert result.attempted > 0
    assert result.failed == 0, "".join(report)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'split'"):
        mathdnn_jax.split  # type: ignore[attr-defined]  # noqa: B018
