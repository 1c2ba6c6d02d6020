from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathdnn_jax import chain
from mathdnn_jax.bijectors import additive_coupling, scaling
from mathdnn_jax.errors import ConfigurationError, ParameterStructureError
from mathdnn_jax.nets import MLP


def test_parts_apply_in_order_and_log_dets_add() -> None:
    parts = {"a": scaling(2), "b": additive_coupling(MLP((1,)), np.array([True, False]))}
    whole = chain(**parts)
    params = whole.init(jax.random.key(0))
    params["a"]["log_scale"] = jnp.array([0.5, -2.0])
    x = jnp.array([1.0, 2.0])
    halfway, first = parts["a"].forward(params["a"], x)
    expected, second = parts["b"].forward(params["b"], halfway)
    z, log_det = whole.forward(params, x)
    np.testing.assert_array_equal(z, expected)
    np.testing.assert_array_equal(log_det, first + second)
    assert [name for name, _ in whole.parts] == ["a", "b"]


def test_parts_are_initialised_independently() -> None:
    mask = np.array([True, False])
    params = chain(a=additive_coupling(MLP((1,)), mask), b=additive_coupling(MLP((1,)), mask)).init(jax.random.key(0))
    assert float(params["a"]["dense_0"]["kernel"][0, 0]) != float(params["b"]["dense_0"]["kernel"][0, 0])


@pytest.mark.parametrize("shape", [(1,), (2, 4), ()])
def test_log_scales_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    for function in (scaling(4).forward, scaling(4).inverse):
        with pytest.raises(ParameterStructureError, match=r"log_scale of shape \(4,\)"):
            function({"log_scale": jnp.zeros(shape)}, jnp.zeros(4))


def test_an_empty_chain_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least one"):
        chain()


def test_events_of_different_rank_are_refused() -> None:
    image = additive_coupling(MLP((1,)), np.array([[True, False]]))
    with pytest.raises(ConfigurationError, match=r"'a' returns events of 1 axes, 'b' takes events of 2"):
        chain(a=scaling(2), b=image)


@pytest.mark.parametrize("names", [("a",), ("a", "b", "c"), ("a", "c")])
def test_parameters_of_other_names_are_refused(names: tuple[str, ...]) -> None:
    bijector = chain(a=scaling(1), b=scaling(1))
    params = {name: {"log_scale": jnp.zeros(1)} for name in names}
    for function in (bijector.forward, bijector.inverse):
        with pytest.raises(ParameterStructureError, match=r"expects parameters named \['a', 'b'\]"):
            function(params, jnp.zeros(1))
