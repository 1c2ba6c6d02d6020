"""The same additive couplings by other libraries: those of distrax, flowjax, zuko and nflows that are installed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn

from benchmarks.case import Case, Contender, Settings, Workload
from benchmarks.frameworks import on_jax, on_torch
from mathdnn_jax.flows import nice

SIZES = {"dim": 64, "width": 256, "depth": 2, "couplings": 4}
QUICK = {"dim": 6, "width": 8, "depth": 1, "couplings": 2}
BATCH = 1024
Layers = list[tuple[np.ndarray, np.ndarray]]
"""Kernel (inputs, outputs) and bias of each dense layer of a coupling's network."""


def cases(settings: Settings) -> Iterator[Case]:
    """z = f(x) and its log-determinant, by each library with the same weights and masks."""
    config = QUICK if settings.quick else SIZES
    for batch in settings.batches or ((4,) if settings.quick else (BATCH,)):
        yield _case(config, batch)


def _case(config: dict[str, int], batch: int) -> Case:
    flow = nice(**config)
    params = flow.init(jax.random.key(0))
    networks = [_layers(params[f"coupling_{i}"]) for i in range(config["couplings"])]
    x = np.random.default_rng(0).standard_normal((batch, config["dim"]), dtype=np.float32)
    events, same = on_jax.on_device(x), on_torch.on_device(x)
    forward = jax.jit(flow.bijector.forward)
    peers = {"distrax": _distrax, "flowjax": _flowjax, "zuko": _zuko, "nflows": _nflows}
    runs, unable = {}, {}
    for name, build in peers.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                runs[name] = build(networks, events, same)
        except ImportError as error:
            unable[name] = f"not installed: {error}"
        except Exception as error:  # a release that is incompatible with this JAX or PyTorch
            unable[name] = f"{type(error).__name__}: {error}"
    layers = sum(2 * kernel.size for network in networks for kernel, _ in network)
    return Case(
        label=f"batch {batch}",
        items=batch,
        unit="vectors",
        jax=lambda: jax.block_until_ready(forward(params, events)),
        torch={},
        others=runs,
        unable=unable,
        tolerance=1e-5,
        flops=batch * layers,
        lowered=lambda: forward.lower(params, events),
    )


def _layers(params: dict[str, Any]) -> Layers:
    return [(np.array(params[name]["kernel"]), np.array(params[name]["bias"])) for name in sorted(params)]


def _jax_network(layers: Layers) -> Callable[[jax.Array], jax.Array]:
    def network(x: jax.Array) -> jax.Array:
        for k, (kernel, bias) in enumerate(layers):
            x = (x if k == 0 else jax.nn.relu(x)) @ jnp.asarray(kernel) + jnp.asarray(bias)
        return x

    return network


def _torch_network(layers: Layers) -> nn.Sequential:
    parts: list[nn.Module] = []
    for kernel, bias in layers:
        layer = nn.Linear(*kernel.shape)
        layer.weight.data, layer.bias.data = torch.from_numpy(kernel.T.copy()), torch.from_numpy(bias.copy())
        parts += [layer, nn.ReLU()]
    return nn.Sequential(*parts[:-1]).to(on_torch.device())


def _kept(i: int, dim: int) -> np.ndarray:
    kept: np.ndarray = np.arange(dim) % 2 == (i + 1) % 2
    return kept


def _distrax(networks: list[Layers], events: jax.Array, same: torch.Tensor) -> Contender:
    del same
    import distrax

    dim = events.shape[-1]

    def conditioner(i: int, layers: Layers) -> Callable[[jax.Array], jax.Array]:
        kept, network = _kept(i, dim), _jax_network(layers)
        return lambda x: jnp.zeros_like(x).at[..., ~kept].set(network(x[..., kept]))

    def shift(values: jax.Array) -> Any:
        return distrax.ScalarAffine(shift=values, log_scale=jnp.zeros_like(values))

    # The weights are arguments, as in our program: XLA would lay out constants for its products in advance.
    @jax.jit
    def forward(networks: list[Layers], events: jax.Array) -> Any:
        # distrax applies the last bijector of a chain first.
        parts = [
            distrax.MaskedCoupling(mask=_kept(i, dim), conditioner=conditioner(i, layers), bijector=shift)
            for i, layers in reversed(list(enumerate(networks)))
        ]
        return distrax.Chain(parts).forward_and_log_det(events)

    weights = jax.tree.map(jnp.asarray, networks)
    return lambda: jax.block_until_ready(tuple(forward(weights, events)))


def _flowjax(networks: list[Layers], events: jax.Array, same: torch.Tensor) -> Contender:
    del same
    import equinox as eqx
    from flowjax.bijections import Chain, Coupling, Loc, Permute

    dim = events.shape[-1]
    half = dim // 2
    parts = []
    for i, layers in enumerate(networks):
        coupling = Coupling(
            jax.random.key(0),
            transformer=Loc(jnp.zeros(())),
            untransformed_dim=half,
            dim=dim,
            nn_width=layers[0][0].shape[1],
            nn_depth=len(layers) - 1,
        )
        for k, (kernel, bias) in enumerate(layers):
            coupling = eqx.tree_at(
                lambda c, k=k: (c.conditioner.layers[k].weight, c.conditioner.layers[k].bias),
                coupling,
                (jnp.asarray(kernel.T), jnp.asarray(bias)),
            )
        order = np.argsort(~_kept(i, dim), kind="stable")
        parts += [Permute(jnp.asarray(order)), coupling, Permute(jnp.asarray(np.argsort(order)))]
    chain = Chain(parts)
    forward = eqx.filter_jit(lambda chain, events: jax.vmap(chain.transform_and_log_det)(events))
    return lambda: jax.block_until_ready(forward(chain, events))


def _zuko(networks: list[Layers], events: jax.Array, same: torch.Tensor) -> Contender:
    import zuko.transforms

    dim = events.shape[-1]

    def coupling(i: int, layers: Layers) -> Any:
        network, mask = _torch_network(layers), torch.from_numpy(_kept(i, dim)).to(same.device)

        def shift(kept: torch.Tensor) -> Any:
            return zuko.transforms.DependentTransform(zuko.transforms.AdditiveTransform(network(kept)), 1)

        return zuko.transforms.CouplingTransform(shift, mask)

    parts = [coupling(i, layers) for i, layers in enumerate(networks)]

    def run() -> tuple[torch.Tensor, torch.Tensor]:
        z, total = same, torch.zeros(len(same), device=same.device)
        for part in parts:
            z, log_det = part.call_and_ladj(z)
            total = total + log_det
        return z, total

    return on_torch.inference(run)


def _nflows(networks: list[Layers], events: jax.Array, same: torch.Tensor) -> Contender:
    from nflows.transforms import AdditiveCouplingTransform, CompositeTransform

    dim = events.shape[-1]

    class Shift(nn.Module):
        def __init__(self, i: int) -> None:
            super().__init__()
            self.network = _torch_network(networks[i])

        def forward(self, kept: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
            del context
            value: torch.Tensor = self.network(kept)
            return value

    def coupling(i: int) -> Any:
        moved = torch.from_numpy((~_kept(i, dim)).astype(np.int32))
        return AdditiveCouplingTransform(moved, lambda *_: Shift(i))

    transform = CompositeTransform([coupling(i) for i in range(len(networks))]).to(same.device)

    return on_torch.inference(lambda: transform(same))


WORKLOAD = Workload("flow-peers", "the same additive couplings by distrax, flowjax, zuko and nflows", cases)
