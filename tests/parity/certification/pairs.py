"""Small pairs of networks around one dense layer, and what is done to its output in PyTorch and in JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest

import parity
from parity.rules.table import Rule, RuleTable

RULES = RuleTable(
    (Rule(("dense.weight",), "params/dense/kernel", "linear"), Rule(("dense.bias",), "params/dense/bias", "same"))
)
WIDTH = 4


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


class Dense(nn.Module):
    """The function `then` of a dense layer's output and of the arguments that come after the first."""

    then: Callable[..., Any]

    @nn.compact
    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        return self.then(nn.Dense(WIDTH, name="dense")(x), *args, **kwargs)


def torch_dense(then: Callable[..., Any]) -> Any:
    """The same as a PyTorch module."""
    torch = pytest.importorskip("torch", reason="a certificate runs the PyTorch network")

    class Module(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.dense = torch.nn.Linear(WIDTH, WIDTH)

        def forward(self, x: Any, *args: Any, **kwargs: Any) -> Any:
            return then(self.dense(x), *args, **kwargs)

    torch.manual_seed(0)
    return Module()


def dense_variables(module: Any) -> dict[str, Any]:
    """The weights of `torch_dense` as those of `Dense`."""
    weight, bias = (array.detach().numpy() for array in (module.dense.weight, module.dense.bias))
    return {"params": {"dense": {"kernel": weight.T.copy(), "bias": bias.copy()}}}


def certify(torch_then: Callable[..., Any], jax_then: Callable[..., Any], inputs: Any = None, **options: Any) -> Any:
    """Certify the two, on 64 vectors unless there are other inputs."""
    module = torch_dense(torch_then)
    given = normal(64, WIDTH) if inputs is None else inputs
    return parity.certify(module, Dense(jax_then).apply, dense_variables(module), given, rules=RULES, **options)


def converted(module: Any, network: nn.Module, *inputs: Any, **options: Any) -> Any:
    """The variables of a Flax network from a PyTorch module, by inferred rules."""
    state = module.eval().state_dict()
    shapes = jax.eval_shape(network.init, jax.random.key(0), *inputs)
    one = {"apply": network.apply, "inputs": inputs[0]} if len(inputs) == 1 else {}
    return parity.convert(state, shapes, parity.infer_rules(state, shapes, **one, **options))
