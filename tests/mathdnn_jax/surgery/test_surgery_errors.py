"""Errors name invalid variables and networks, and layers from outside the library are kept."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import mathdnn_jax
from mathdnn_jax import errors, nets
from mathdnn_jax.nets import BatchNorm, Sequential
from mathdnn_jax.nets.layers.layer import Slot, ones

from .random_networks import apply, events, random_variables


def bad(network: Sequential, change: Any) -> None:
    variables = random_variables(network, 12)
    change(variables)
    mathdnn_jax.remove_batch_norm(network, variables)


NETWORK = Sequential(conv=nets.Conv(4, 3), bn=BatchNorm(), fc=nets.Dense(2))


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda v: v["batch_stats"]["bn"]["var"].__setitem__(2, -1e-5), errors.NonFiniteError, "channel 2"),
        (lambda v: v["batch_stats"]["bn"]["var"].__setitem__(1, np.nan), errors.NonFiniteError, "channel 1"),
        (lambda v: v["batch_stats"]["bn"]["mean"].__setitem__(1, np.inf), errors.NonFiniteError, "not finite"),
        (lambda v: v["batch_stats"]["bn"]["var"].__setitem__(0, np.inf), errors.NonFiniteError, "not finite"),
        (lambda v: v.pop("batch_stats"), errors.ParameterStructureError, "running statistics"),
        (lambda v: v["params"].pop("conv"), errors.ParameterStructureError, "'conv'"),
        (lambda v: v["params"]["fc"].pop("bias"), errors.ParameterStructureError, "'fc'"),
        (lambda v: v["params"].update(other={}), errors.ParameterStructureError, "other"),
        (lambda v: v["params"]["conv"].update(kernel=np.ones((3, 2, 4, 4))), errors.EventShapeError, "'conv'"),
        (lambda v: v["params"]["conv"].update(bias=np.ones(3)), errors.EventShapeError, "'conv'"),
        (lambda v: v["batch_stats"]["bn"].update(mean=np.ones(3)), errors.EventShapeError, "'bn'"),
        (
            lambda v: (
                v["params"].update(bn={"scale": np.ones(3), "bias": np.ones(3)}),
                v["batch_stats"].update(bn={"mean": np.ones(3), "var": np.ones(3)}),
            ),
            errors.EventShapeError,
            "4 channels",
        ),
    ],
)
def test_errors_name_invalid_variables(change: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        bad(NETWORK, change)


@dataclasses.dataclass(frozen=True)
class Temperature(nets.Layer):
    """A layer from outside the library: x divided by a learnt number."""

    def slots(self, input_shape: tuple[int, ...]) -> dict[str, dict[str, Slot]]:
        del input_shape
        return {"params": {"temperature": Slot((), ones)}}

    def apply(self, values: Any, x: Any, *, train: bool = False, key: Any = None) -> tuple[Any, dict[str, Any]]:
        del train, key
        return x / values["params"]["temperature"], {}


def test_layers_from_outside_are_kept_and_nothing_moves_across_them() -> None:
    network = Sequential(conv=nets.Conv(4, 3), own=Temperature(), bn=BatchNorm())
    variables, x = random_variables(network, 14), events(14)
    folded, new, report = mathdnn_jax.remove_batch_norm(network, variables)
    assert folded == network
    assert "own: Temperature stands between" in report.describe()
    np.testing.assert_array_equal(apply(folded, new, x), apply(network, variables, x))


def test_surgery_needs_a_sequential() -> None:
    mlp: Any = nets.MLP([3, 2])
    with pytest.raises(errors.ConfigurationError, match="Sequential"):
        mathdnn_jax.remove_batch_norm(mlp, {})


def test_the_error_names_weights_that_overflow() -> None:
    network = Sequential(conv=nets.Conv(4, 3), bn=BatchNorm(epsilon=0.0))
    variables = random_variables(network, 13, zeros=False)
    variables["batch_stats"]["bn"]["var"][:] = 1e-12
    half: Any = {
        "params": {n: {k: a.astype(np.float16) for k, a in d.items()} for n, d in variables["params"].items()},
        "batch_stats": variables["batch_stats"],
    }
    with pytest.raises(errors.NonFiniteError, match="float16"):
        mathdnn_jax.remove_batch_norm(network, half)
