from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import parity
from parity.models import MODELS

from .network_states import CONFIGS, images, network_state, shapes

torch = pytest.importorskip("torch", reason="compares with PyTorch")

FULL: dict[str, dict[str, Any]] = {
    "small-net": {"channels": 16, "hidden": 1024, "classes": 10, "in_channels": 3, "image": 32},
    "net1": {"channels": [64, 192, 384, 256, 256], "hidden": 4096, "classes": 10, "in_channels": 3, "image": 32},
}
FULL["small-net-folded"], FULL["net2"] = FULL["small-net"], FULL["net1"]


def twin(model: str, state: dict[str, np.ndarray], config: dict[str, Any] | None = None) -> Any:
    """The PyTorch module in float64 and eval mode, with this state, strictly."""
    module = MODELS[model].twin(**(config or CONFIGS[model])).double()
    module.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()}, strict=True)
    return module.eval()


def nchw(x: np.ndarray) -> Any:
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1)))


@functools.cache
def jax_network(model: str) -> Callable[..., Any]:
    return jax.jit(MODELS[model].build(**CONFIGS[model]).apply)


@pytest.mark.parametrize("model", ["small-net", "small-net-folded", "net1", "net2"])
def test_full_size_names_and_shapes_are_those_of_the_checkpoints(model: str) -> None:
    with torch.device("meta"):
        module = MODELS[model].twin(**FULL[model])
        plain = getattr(parity.reference, type(module).__name__)()
    expected = shapes(model, FULL[model])
    for one in (module, plain):
        assert {name: tuple(tensor.shape) for name, tensor in one.state_dict().items()} == expected
    assert (
        MODELS[model].infer_config({name: np.empty(shape, np.int8) for name, shape in expected.items()}) == FULL[model]
    )


@pytest.mark.parametrize("name", ["ConvReLUBN", "ConvReLUSignBias"])
def test_the_conv_relu_twins_take_the_seeds_arguments(name: str) -> None:
    module = getattr(parity.reference, name)(3, 4, 3)
    model = "conv-relu-bn" if name == "ConvReLUBN" else "conv-relu-sign-bias"
    assert {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()} == shapes(model, CONFIGS[model])


@pytest.mark.parametrize("model", list(CONFIGS))
@given(seed=st.integers(0, 2**31 - 1))
@settings(max_examples=8)
def test_both_networks_are_one_function(model: str, seed: int) -> None:
    state, x = network_state(model, seed, np.float64), images(model, 3, seed)
    with jax.enable_x64(True), torch.inference_mode():
        mine = np.asarray(jax_network(model)(parity.convert(state, model), jnp.asarray(x)))
        theirs = twin(model, state)(nchw(x)).numpy()
    np.testing.assert_allclose(mine, np.moveaxis(theirs, 1, -1), rtol=0, atol=1e-12 * (1 + np.abs(theirs).max()))


def test_net2_is_net1_on_every_patch() -> None:
    from parity.reference import Net1, Net2

    config: dict[str, Any] = {"channels": (2, 3, 4, 3, 5), "hidden": 6, "image": 17, "in_channels": 2}
    net1, net2 = Net1(4, **config).double(), Net2(4, **config).double()
    net2.copy_weights_from(net1)
    x = torch.randn(2, 2, 19, 18, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole = net2(x)
        assert whole.shape == (2, 4, 3, 2)
        for i in range(3):
            for j in range(2):
                patch = net1(x[:, :, i : i + 17, j : j + 17])
                torch.testing.assert_close(whole[:, :, i, j], patch, rtol=0, atol=1e-13)
    # The same weights by way of JAX.
    with jax.enable_x64(True):
        state = {name: tensor.numpy() for name, tensor in net1.state_dict().items()}
        variables = parity.convert(state, "net1")
        kernel = variables["params"]["classifier_0"]["kernel"].reshape(3, 3, 5, 6)
        sliding = parity.convert({name: t.numpy() for name, t in net2.state_dict().items()}, "net2")
        np.testing.assert_array_equal(sliding["params"]["classifier_0"]["kernel"], kernel)


def test_impossible_sizes_have_no_twin() -> None:
    from parity.reference import Net1, Net2

    with pytest.raises(ValueError, match="given images of 14: the receptive field of the features is 15 wide"):
        Net1(image=14)
    with pytest.raises(ValueError, match="there are 5 convolutions"):
        Net2(channels=(1, 2))


@given(seed=st.integers(0, 2**31 - 1), zero=st.booleans())
@settings(max_examples=8)
def test_the_sign_bias_form_is_the_batch_norm(seed: int, zero: bool) -> None:
    from parity.reference import ConvReLUSignBias

    state = network_state("conv-relu-bn", seed, np.float64)
    if zero:
        state["bn.weight"][1] = 0
    original = twin("conv-relu-bn", state)
    form = ConvReLUSignBias(3, 4, 3).double()
    form.init_from_conv_relu_bn(original)
    x = nchw(images("conv-relu-bn", 3, seed))
    with torch.inference_mode():
        expected = original(x)
        assert set(form.S.tolist()) <= {-1.0, 1.0}
        atol = 1e-12 * (1 + float(expected.abs().max()))
        torch.testing.assert_close(form(x), expected, rtol=0, atol=atol)
        mine = MODELS["conv-relu-sign-bias"]
        with jax.enable_x64(True):
            exported = {name: tensor.numpy() for name, tensor in form.state_dict().items()}
            variables = parity.convert(exported, "conv-relu-sign-bias")
            y = mine.build(**CONFIGS["conv-relu-sign-bias"]).apply(
                variables, jnp.asarray(images("conv-relu-bn", 3, seed))
            )
        np.testing.assert_allclose(np.moveaxis(np.asarray(y), -1, 1), expected.numpy(), rtol=0, atol=atol)


def test_without_running_statistics_there_is_no_sign_bias_form() -> None:
    from parity.reference import ConvReLUBN, ConvReLUSignBias

    original = ConvReLUBN(1, 1, 1)
    original.bn = torch.nn.BatchNorm2d(1, track_running_stats=False)
    with pytest.raises(ValueError, match="no running statistics"):
        ConvReLUSignBias(1, 1, 1).init_from_conv_relu_bn(original)
