"""The adapters, with PyTorch's maps, and with stand-ins for the bijectors of JAX libraries."""

from __future__ import annotations

import sys
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathdnn_jax.errors import MissingDependencyError
from mathdnn_jax.testing import BijectorCheckError, check_bijector, from_distrax, from_tfp, from_torch


def coupling(sign: float = 1.0) -> Any:
    torch = pytest.importorskip("torch", reason="the adapter is for PyTorch")

    class Coupling(torch.nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(2, 2)
            with torch.no_grad():
                self.linear.weight.copy_(torch.tensor([[0.5, -0.25], [1.0, 0.75]]))
                self.linear.bias.copy_(torch.tensor([0.25, -0.5]))

        def forward(self, x: Any) -> Any:
            s, t = torch.tanh(self.linear(x[:, :2])).chunk(2, 1)
            return torch.cat([x[:, :2], x[:, 2:] * s.exp() + t], 1), sign * s.sum(1)

        def inverse(self, z: Any) -> Any:
            s, t = torch.tanh(self.linear(z[:, :2])).chunk(2, 1)
            return torch.cat([z[:, :2], (z[:, 2:] - t) * (-s).exp()], 1), -s.sum(1)

    return Coupling()


def test_a_torch_module_is_checked_like_any_map() -> None:
    check_bijector(*from_torch(coupling()), event_shape=(3,), latent_support=(-np.inf, np.inf), examples=5)
    with pytest.raises(BijectorCheckError, match="sign is flipped"):
        check_bijector(*from_torch(coupling(sign=-1)), event_shape=(3,))


def test_torch_derivatives_are_those_of_jax() -> None:
    module = coupling()
    weight, bias = (np.asarray(p.detach()) for p in (module.linear.weight, module.linear.bias))

    def twin(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        s, t = jnp.split(jnp.tanh(x[..., :2] @ weight.T + bias), 2, -1)
        return jnp.concatenate([x[..., :2], x[..., 2:] * jnp.exp(s) + t], -1), s.sum(-1)

    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)
    forward = from_torch(module).forward
    for transformed in (forward, jax.jit(forward), jax.vmap(forward)):
        chex.assert_trees_all_close(transformed(x), twin(x), rtol=1e-5, atol=1e-6)

    def loss(function: Any, x: jax.Array) -> Any:
        value, log_det = function(x)
        return jnp.sin(value).sum() + (log_det**2).sum()

    np.testing.assert_allclose(jax.grad(loss, 1)(forward, x), jax.grad(loss, 1)(twin, x), rtol=1e-4, atol=1e-5)
    ours, theirs = (jax.vmap(jax.jacfwd(lambda x, f=f: f(x)[0]))(x) for f in (forward, twin))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_torch_transform_is_summed_over_the_event() -> None:
    torch = pytest.importorskip("torch", reason="the adapter is for PyTorch")
    transform = torch.distributions.ExpTransform()
    check_bijector(*from_torch(transform, 1), event_shape=(2,), latent_support=(0, np.inf), examples=5)
    check_bijector(*from_torch(transform), event_shape=(), latent_support=(0, np.inf), examples=5)
    with pytest.raises(BijectorCheckError, match="axes of the event"):
        check_bijector(*from_torch(transform), event_shape=(2,))


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependencyError, match="from_torch needs PyTorch"):
        from_torch(object())


class Scale:
    """A bijector with the methods of both distrax and TFP, whose log-dets are those of single entries."""

    event_ndims_in = event_ndims_out = forward_min_event_ndims = inverse_min_event_ndims = 0

    def __init__(self, scale: Any) -> None:
        self.scale = scale

    def forward_and_log_det(self, x: jax.Array) -> Any:
        return x * self.scale, jnp.broadcast_to(jnp.log(jnp.abs(self.scale)), x.shape)

    def inverse_and_log_det(self, z: jax.Array) -> Any:
        return z / self.scale, jnp.broadcast_to(-jnp.log(jnp.abs(self.scale)), z.shape)

    def forward(self, x: jax.Array) -> Any:
        return x * self.scale

    def inverse(self, z: jax.Array) -> Any:
        return z / self.scale

    def forward_log_det_jacobian(self, x: jax.Array, event_ndims: int) -> jax.Array:
        assert x.shape[-1:] == self.scale.shape
        return jnp.log(jnp.abs(self.scale)).sum(tuple(range(-event_ndims, 0)))

    def inverse_log_det_jacobian(self, z: jax.Array, event_ndims: int) -> jax.Array:
        return -self.forward_log_det_jacobian(z, event_ndims)


@pytest.mark.parametrize("adapter", [from_distrax, from_tfp])
def test_functions_of_parameters_and_log_dets_of_entries(adapter: Any) -> None:
    scale = np.asarray([0.5, 2.0], np.float32)
    check_bijector(*adapter(lambda params: Scale(params), 1), params=scale, event_shape=(2,), examples=5)
    check_bijector(*adapter(Scale(3.0 if adapter is from_distrax else scale), 1), event_shape=(2,), examples=5)
