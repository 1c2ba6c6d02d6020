"""Sequential networks: variables, modes, batch axes, and errors that name the layer."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mathdnn_jax
from mathdnn_jax import errors, nets
from mathdnn_jax.nets import Sequential

from ...drawn import drawn, normal

NETWORK: Any = mathdnn_jax.small_net(channels=4, hidden=6)
SHAPE = (8, 8, 3)


run = jax.jit(NETWORK.apply)


@functools.cache
def made() -> tuple[Any, jax.Array]:
    x = normal(5, *SHAPE)
    return jax.jit(NETWORK.init)(jax.random.key(0), x), x


def test_variables_are_ordinary_flax_collections() -> None:
    variables, _ = made()
    assert jax.tree.map(jnp.shape, variables) == {
        "params": {
            "conv1_0": {"kernel": (3, 3, 3, 4), "bias": (4,)},
            "conv1_1": {"scale": (4,), "bias": (4,)},
            "conv2_0": {"kernel": (3, 3, 4, 4), "bias": (4,)},
            "conv2_1": {"scale": (4,), "bias": (4,)},
            "fc1_0": {"kernel": (256, 6), "bias": (6,)},
            "fc1_1": {"scale": (6,), "bias": (6,)},
            "fc2_0": {"kernel": (6, 10), "bias": (10,)},
        },
        "batch_stats": {
            name: {"mean": (n,), "var": (n,), "num_batches_tracked": ()}
            for name, n in [("conv1_1", 4), ("conv2_1", 4), ("fc1_1", 6)]
        },
    }
    assert {leaf.dtype for leaf in jax.tree.leaves(variables["params"])} == {np.dtype(np.float32)}
    statistics = variables["batch_stats"]["conv1_1"]
    np.testing.assert_array_equal(statistics["mean"], np.zeros(4))
    np.testing.assert_array_equal(statistics["var"], np.ones(4))


def test_weights_are_drawn_as_pytorch_draws_them() -> None:
    network = Sequential(conv=nets.Conv(8, 3, groups=2), up=nets.ConvTranspose(6, 2, groups=2), fc=nets.Dense(50))
    params = jax.jit(network.init)(jax.random.key(0), jnp.zeros((1, 5, 5, 4)))["params"]
    for name, fan_in in [("conv", 9 * 2), ("up", 4 * 3), ("fc", 6)]:
        for array in params[name].values():
            assert float(jnp.abs(array).max()) <= fan_in**-0.5
        kernel = params[name]["kernel"]
        assert float(jnp.abs(kernel).max()) > 0.9 * fan_in**-0.5
        # Six standard errors of the mean square of a uniform variable.
        assert abs(float(jnp.square(kernel).mean()) * 3 * fan_in - 1) < 6 * 0.9 / kernel.size**0.5


def test_layers_are_applied_in_order_and_seen_by_name() -> None:
    variables, x = made()
    output, state = NETWORK.apply(variables, x, capture_intermediates=True, mutable=["intermediates"])
    seen = state["intermediates"]
    y = x
    for name, layer in NETWORK.layers:
        values = {c: variables[c][name] for c in ("params", "batch_stats") if name in variables[c]}
        y, _ = layer.apply(values, y)
        np.testing.assert_array_equal(seen[name]["__call__"][0], y)
        assert y.shape[1:] == NETWORK.output_shapes(SHAPE)[name]
    np.testing.assert_array_equal(output, y)


def test_any_batch_axes_and_none() -> None:
    variables, x = made()
    y, events = np.asarray(run(variables, x)), np.asarray(x)
    np.testing.assert_allclose(run(variables, events[0]), y[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(run(variables, events[None]), y[None])
    vectors: Any = Sequential(fc=nets.Dense(3), bn=nets.BatchNorm())
    assert output_shape(vectors, (4,), (2, 7, 4)) == (2, 7, 3)
    flat: Any = Sequential(flatten=nets.Flatten(), fc=nets.Dense(3))
    assert output_shape(flat, (1, 2, 2), (7, 2, 2)) == (7, 3)


def output_shape(network: Sequential, first: tuple[int, ...], then: tuple[int, ...]) -> tuple[int, ...]:
    """The output's shape for an input of the second shape, with variables made for an input of the first."""
    variables = drawn(network.init, jax.ShapeDtypeStruct(first, np.float32))
    shape: tuple[int, ...] = jax.eval_shape(network.apply, variables, jax.ShapeDtypeStruct(then, np.float32)).shape
    return shape


def test_a_network_is_a_value() -> None:
    variables, x = made()
    same = Sequential(layers=dict(NETWORK.layers))
    assert same == NETWORK
    assert hash(same) == hash(NETWORK)
    assert same != mathdnn_jax.small_net(channels=4, hidden=7)
    assert Sequential(a=nets.Conv(3, 2, padding=1)) == Sequential(a=nets.Conv(3, (2, 2), padding=((1, 1), (1, 1))))
    apply = jax.jit(lambda network, variables, x: network.apply(variables, x), static_argnums=0)
    np.testing.assert_allclose(apply(same, variables, x), run(variables, x), rtol=1e-5, atol=1e-6)
    oddly_named: Any = Sequential(apply=nets.Relu(), scope=nets.Relu())
    assert oddly_named.apply({}, x).shape == x.shape


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_the_dtype_of_the_parameters_is_computed_in(dtype: str) -> None:
    variables, x = made()
    with jax.enable_x64(True):
        typed = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype), variables)
        assert jax.eval_shape(NETWORK.apply, typed, x).dtype == dtype


def test_train_mode_is_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x = 2 + rng.normal(size=(4, 5, 3, 2))
    module = torch.nn.BatchNorm2d(2, dtype=torch.float64)
    module.weight.data = torch.tensor([1.5, -0.5], dtype=torch.float64)
    module.bias.data = torch.tensor([0.25, 0.375], dtype=torch.float64)
    network = Sequential(bn=nets.BatchNorm(), relu=nets.Relu())
    step_on = jax.jit(functools.partial(network.apply, train=True, mutable=["batch_stats"]))
    with jax.enable_x64(True):
        params = {"bn": {"scale": jnp.asarray([1.5, -0.5]), "bias": jnp.asarray([0.25, 0.375])}}
        variables = {"params": params, "batch_stats": {"bn": {"mean": jnp.zeros(2), "var": jnp.ones(2)}}}
        assert variables["batch_stats"]["bn"]["mean"].dtype == jnp.float64
        for step in range(3):
            batch = x * (step + 1)
            expected = torch.relu(module(torch.from_numpy(np.moveaxis(batch, -1, 1).copy()))).detach().numpy()
            y, state = step_on(variables, batch)
            variables = {**variables, **state}
            np.testing.assert_allclose(np.asarray(y), np.moveaxis(expected, 1, -1), rtol=0, atol=1e-12)
            statistics = variables["batch_stats"]["bn"]
            np.testing.assert_allclose(statistics["mean"], module.running_mean.numpy(), rtol=1e-13)
            np.testing.assert_allclose(statistics["var"], module.running_var.numpy(), rtol=1e-13)
        # What Flax's own rule, the biased variance, would have given is further off than that.
        biased = 0.9 * (0.9 * (0.9 + 0.1 * x.var((0, 1, 2))) + 0.4 * x.var((0, 1, 2))) + 0.9 * x.var((0, 1, 2))
        assert np.abs(np.asarray(statistics["var"]) / biased - 1).min() > 1e-3


def test_train_mode_has_the_gradient_of_the_batch_statistics() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    x, weight = rng.normal(size=(6, 3)), rng.normal(size=(6, 3))
    module = torch.nn.BatchNorm1d(3, momentum=0.3, eps=1e-2, affine=False, dtype=torch.float64)
    inputs = torch.tensor(x, requires_grad=True)
    (module(inputs) * torch.from_numpy(weight)).sum().backward()
    network: Any = Sequential(bn=nets.BatchNorm(epsilon=1e-2, momentum=0.3, affine=False))
    with jax.enable_x64(True):
        stats = {"batch_stats": {"bn": {"mean": jnp.zeros(3), "var": jnp.ones(3)}}}

        def loss(x: jax.Array) -> jax.Array:
            y, state = network.apply(stats, x, train=True, mutable=["batch_stats"])
            # The running statistics carry no gradient, as PyTorch's do not.
            total: jax.Array = (y * weight).sum() + sum(leaf.sum() for leaf in jax.tree.leaves(state))
            return total

        gradient = jax.jit(jax.grad(loss))(x)
    np.testing.assert_allclose(np.asarray(gradient), inputs.grad.numpy(), rtol=0, atol=1e-12)


def test_init_does_not_update_running_statistics() -> None:
    network = Sequential(bn=nets.BatchNorm())
    x = np.full((4, 2), 6, np.float32)
    variables = jax.jit(lambda key, x: network.init(key, x, train=True))(jax.random.key(0), x)
    np.testing.assert_array_equal(variables["batch_stats"]["bn"]["mean"], np.zeros(2))


def test_dropout_takes_the_key() -> None:
    network: Any = Sequential(drop=nets.Dropout(0.5), fc=nets.Dense(2))
    x = np.ones((64, 4), np.float32)
    variables, train = drawn(network.init, x), jax.jit(functools.partial(network.apply, train=True))
    a, b, again = (np.asarray(train(variables, x, rngs={"dropout": jax.random.key(k)})) for k in (0, 1, 0))
    assert (a != b).any()
    np.testing.assert_array_equal(a, again)


def without(tree: dict[str, Any], *path: str) -> dict[str, Any]:
    first, *rest = path
    return {
        key: without(value, *rest) if key == first else value for key, value in tree.items() if rest or key != first
    }


@pytest.mark.parametrize(
    ("act", "error", "said"),
    [
        (lambda v, x: NETWORK.apply(without(v, "batch_stats"), x), errors.ParameterStructureError, "conv1_1.*running"),
        (
            lambda v, x: NETWORK.apply(without(v, "batch_stats", "conv2_1", "var"), x),
            errors.ParameterStructureError,
            "conv2_1.*running",
        ),
        (lambda v, x: NETWORK.apply(without(v, "params", "fc1_0"), x), errors.ParameterStructureError, "fc1_0.*kernel"),
        (
            lambda v, x: NETWORK.apply({**v, "params": {**v["params"], "fc9": {}}}, x),
            errors.ParameterStructureError,
            "fc9",
        ),
        (lambda v, x: NETWORK.apply(v, x[..., :2]), errors.EventShapeError, "conv1_0"),
        (lambda v, x: NETWORK.apply(v, x[:, :4]), errors.EventShapeError, "fc1_0"),
        (lambda v, x: NETWORK.apply(v, x[0, 0]), errors.EventShapeError, "3 axes"),
        (lambda v, x: NETWORK.apply(v, (255 * x).astype(jnp.uint8)), errors.ImageError, "uint8"),
        (lambda v, x: NETWORK.apply(v, x, train=True), errors.ConfigurationError, "conv1_1.*mutable"),
        (
            lambda v, x: NETWORK.apply(v, x[:1], train=True, mutable=["batch_stats"]),
            errors.DataSetError,
            "fc1_1.*larger batch",
        ),
        (
            lambda _, x: Sequential(drop=nets.Dropout()).apply({}, x, train=True),
            errors.ConfigurationError,
            "drop.*rngs",
        ),
    ],
)
def test_what_is_wrong_is_named(act: Callable[[Any, jax.Array], Any], error: type[Exception], said: str) -> None:
    variables, x = made()
    with pytest.raises(error, match=said):
        jax.eval_shape(lambda: act(variables, x))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Sequential(layers=[("a", nets.Relu()), ("a", nets.Tanh())]), "several layers named a"),
        (lambda: Sequential(layers=[("a", nets.Relu())], a=nets.Tanh()), "several layers named a"),
        (lambda: Sequential(layers=[("conv1.0", nets.Relu())]), "identifier"),
        (lambda: Sequential(name=nets.Relu()), "'name'"),  # type: ignore[arg-type]
        (lambda: Sequential(parent=nets.Relu()), "'parent'"),
        (lambda: Sequential(a=nets.Relu), "description"),  # type: ignore[arg-type]
        (lambda: Sequential(layers=nets.Relu()), "pairs"),  # type: ignore[arg-type]
        (lambda: Sequential(layers=["ab"]), "pairs"),  # type: ignore[list-item]
    ],
)
def test_lists_that_are_not_a_network_are_refused(make: Callable[[], Sequential], said: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=said):
        make()


def test_small_images_are_named() -> None:
    with pytest.raises(errors.ImageError, match="features_8"):
        mathdnn_jax.net2(channels=(2,) * 5, hidden=2).output_shapes((14, 14, 3))


def test_networks_have_their_sizes() -> None:
    assert mathdnn_jax.small_net().output_shapes((32, 32, 3))["flatten"] == (16384,)
    assert mathdnn_jax.net1().output_shapes((32, 32, 3))["flatten"] == (82944,)
    assert mathdnn_jax.net2().output_shapes((36, 38, 3))["classifier_4"] == (5, 7, 10)
    assert mathdnn_jax.alexnet(classes=7).output_shapes((224, 224, 3))["classifier_6"] == (7,)
    plain = mathdnn_jax.small_net(batch_norm=False)
    assert [name for name, _ in plain.layers] == [
        *("conv1_0", "conv1_1", "conv2_0", "conv2_1", "flatten"),
        *("fc1_0", "fc1_1", "fc2_0", "fc2_1"),
    ]
