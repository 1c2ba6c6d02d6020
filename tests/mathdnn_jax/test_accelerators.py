"""The programs of the main models can be lowered for a GPU and a TPU, on a machine that has neither."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import pytest

import mathdnn_jax as md
from mathdnn_jax.training import gradient_update

KEY = jax.random.key(0)


class Program(NamedTuple):
    """A function and the shapes of its arguments."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


def of_flow(flow: md.Flow, event_shape: tuple[int, ...], batch: int = 2) -> dict[str, Program]:
    """Return programs for the gradient of the log-density and for samples."""
    params = jax.eval_shape(flow.init, KEY)
    events = jax.ShapeDtypeStruct((batch, *event_shape), jnp.float32)

    def loss(params: Any, events: jax.Array) -> jax.Array:
        return -flow.log_prob(params, events).mean()

    return {
        "trained": Program(jax.value_and_grad(loss), (params, events)),
        "sampled": Program(lambda params, key: flow.sample(params, key, (batch,)), (params, KEY)),
    }


def of_network(net: Any, image_shape: tuple[int, ...]) -> dict[str, Program]:
    """Return programs for the outputs in evaluation and for the gradient of a training step."""
    images = jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)
    variables = jax.eval_shape(net.init, KEY, images)

    def loss(params: Any, state: Any, images: jax.Array) -> Any:
        outputs, state = net.apply({"params": params, **state}, images, train=True, mutable=["batch_stats"])
        return jnp.square(outputs).mean(), state

    state = {name: value for name, value in variables.items() if name != "params"}
    return {
        "evaluated": Program(net.apply, (variables, images)),
        "trained": Program(jax.grad(loss, has_aux=True), (variables["params"], state, images)),
    }


def of_training() -> dict[str, Program]:
    """Return one step of `fit` with Adam, which keeps the old values if the new ones are not finite."""
    model = md.vae((784,), 3, trunk=md.generative.dense_trunk((5,)), decoder=md.generative.dense_decoder(784, (5,)))
    params = jax.eval_shape(model.init, KEY)
    update = gradient_update(lambda params, rows, key: -model.elbo(params, rows, key).mean(), optax.adam(1e-3))

    def step(params: Any, state: Any, rows: jax.Array, key: jax.Array) -> Any:
        return update.step(params, state, None, rows, key, None, alive=jnp.asarray(True))

    rows = jax.ShapeDtypeStruct((4, 784), jnp.float32)
    return {"trained": Program(step, (params, jax.eval_shape(update.init, params), rows, KEY))}


PROGRAMS = {
    f"{name}, {what}": program
    for name, programs in {
        "nice": of_flow(md.nice(12, 8, couplings=2), (12,)),
        "real_nvp": of_flow(md.real_nvp((4, 4, 1), width=4, couplings=2, depth=1), (4, 4, 1)),
        "glow": of_flow(md.glow((4, 4, 1), width=4, steps=1, depth=2), (4, 4, 1)),
        "mixture_cdf_flow": of_flow(md.mixture_cdf_flow(), ()),
        "small_net": of_network(md.small_net(), (32, 32, 3)),
        "dcgan_generator": of_network(md.generative.dcgan_generator(1, 4), (1, 1, 8)),
        "vae": of_training(),
    }.items()
    for what, program in programs.items()
}


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_program_is_lowered(name: str, platform: str) -> None:
    function, arguments = PROGRAMS[name]
    text = jax.jit(function).trace(*arguments).lower(lowering_platforms=(platform,)).as_text()
    assert "stablehlo.dot_general" in text or "stablehlo.convolution" in text or "mixture" in name
    # Convolutions are left to XLA, which chooses the device's algorithm. On a CPU they would be matrix products.
    if name.startswith(("small_net", "dcgan", "glow", "real_nvp")):
        assert "stablehlo.convolution" in text
