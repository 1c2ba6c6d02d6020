"""What crosses processes: every error of the project, and flows and bijectors, or an error that says why not."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import benchmarks
import mathdnn_jax
import parity
from mathdnn_jax.bijectors import Bijector
from mathdnn_jax.bijectors.bijector import no_params
from mathdnn_jax.errors import UnpicklableError

DEFINITION = re.compile(r"^class \w+\(.*(Error|Exception|Warning)", re.MULTILINE)


def exceptions() -> list[type[BaseException]]:
    """Every class of errors and warnings that the project defines."""
    found: set[type[BaseException]] = set()
    for package in (mathdnn_jax, parity, benchmarks):
        root = Path(package.__path__[0])
        for path in root.rglob("*.py"):
            if DEFINITION.search(path.read_text(encoding="utf-8")):
                name = ".".join(path.relative_to(root.parent).with_suffix("").parts)
                try:
                    module = importlib.import_module(name)
                except ModuleNotFoundError as error:
                    if error.name != "torch":
                        raise
                    continue  # seen where PyTorch is installed
                classes = [thing for thing in vars(module).values() if inspect.isclass(thing)]
                found |= {
                    kind for kind in classes if issubclass(kind, BaseException) and kind.__module__ == module.__name__
                }
    return sorted(found, key=lambda kind: f"{kind.__module__}.{kind.__qualname__}")


def made(kind: type[BaseException]) -> BaseException:
    """An error of this class, with a value for each argument of its own."""
    parameters = [] if "__init__" not in vars(kind) else list(inspect.signature(kind).parameters.values())
    positional = [f"value of {it.name}" for it in parameters if it.kind is it.POSITIONAL_OR_KEYWORD]
    keywords: dict[str, Any] = {it.name: f"value of {it.name}" for it in parameters if it.kind is it.KEYWORD_ONLY}
    return kind(*(positional or ["a message"]), **keywords)


def test_every_error_can_be_pickled() -> None:
    kinds = exceptions()
    assert len(kinds) > 40
    for kind in kinds:
        error = made(kind)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            again = pickle.loads(pickle.dumps(error, protocol))
            assert type(again) is kind
            assert again.args == error.args
            assert str(again) == str(error)
            assert vars(again) == vars(error), kind


def _halved(params: Any, x: Any, context: Any = None, /) -> Any:
    return x / 2, -np.log(2.0)


def _doubled(params: Any, z: Any, context: Any = None, /) -> Any:
    return z * 2, np.log(2.0)


def test_bijectors_and_flows_can_be_pickled_where_their_parts_can() -> None:
    bijector = Bijector(no_params, _halved, _doubled, 1)
    assert pickle.loads(pickle.dumps(bijector)) == bijector
    composed = bijector._replace(parts=(("first", bijector),))
    assert pickle.loads(pickle.dumps(composed)) == composed


def test_others_say_why_not() -> None:
    flow = mathdnn_jax.nice(4, 2, 1, 2)
    with pytest.raises(UnpicklableError, match=r"this Flow cannot be pickled, because its `init` is a function"):
        pickle.dumps(flow)
    with pytest.raises(UnpicklableError, match="this Bijector cannot be pickled"):
        pickle.dumps({"inside": [flow.bijector]})
    assert copy.deepcopy(flow) is flow
    assert copy.copy(flow.bijector) == flow.bijector


def test_other_picklers_can_do_more() -> None:
    cloudpickle = pytest.importorskip("cloudpickle", reason="it pickles functions by their code")
    flow = mathdnn_jax.nice(4, 2, 1, 2)
    again = pickle.loads(cloudpickle.dumps(flow))
    params = flow.init(jax.random.key(0))
    np.testing.assert_array_equal(
        again.log_prob(params, np.ones((2, 4), "f4")), flow.log_prob(params, np.ones((2, 4), "f4"))
    )
