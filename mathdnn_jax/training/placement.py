"""Where arrays lie: on one device, or spread over a mesh of them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, Sharding

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.training.program import DATA_AXIS, Carry
from mathdnn_jax.training.update import Tree

MODEL_AXIS = "model"


def device_mesh(data: int | None = None, model: int = 1) -> Mesh:
    """A mesh with the axes "data" and, where `model` is above 1, "model", over the devices of all processes.

    Args:
        data: over how many devices a batch is spread; by default over all that there are, divided by `model`.
        model: over how many devices a wide layer is spread.

    Raises:
        ConfigurationError: there are not as many devices.
    """
    there = len(jax.devices())
    data = there // max(model, 1) if data is None else data
    if data < 1 or model < 1 or data * model > there:
        raise ConfigurationError(
            f"a mesh of {data} x {model} devices was asked for, and there are {there}; on a processor, "
            f"XLA_FLAGS=--xla_force_host_platform_device_count={max(data * model, 1)} makes as many virtual ones"
        )
    shape, names = ((data, model), (DATA_AXIS, MODEL_AXIS)) if model > 1 else ((data,), (DATA_AXIS,))
    devices = jax.devices()[: data * model]
    return jax.make_mesh(shape, names, axis_types=(AxisType.Auto,) * len(names), devices=devices)


def shard_wide_layers(params: Tree, mesh: Mesh, least: int = 512) -> Tree:
    """PartitionSpecs that spread the outputs of wide layers over the mesh's "model" axis, the others on every device.

    A leaf is spread along its last axis where that is at least `least` long and the axis of the mesh divides it:
    kernels (inputs, outputs) by columns with their biases. XLA inserts what communication that takes.

    Raises:
        ConfigurationError: the mesh has no axis "model".
    """
    if MODEL_AXIS not in mesh.axis_names:
        raise ConfigurationError(f"layers are spread over an axis 'model', the mesh has {mesh.axis_names}")

    def spec(leaf: Any) -> PartitionSpec:
        shape = np.shape(leaf)
        if not shape or shape[-1] < least or shape[-1] % mesh.shape[MODEL_AXIS]:
            return PartitionSpec()
        return PartitionSpec(*(None,) * (len(shape) - 1), MODEL_AXIS)

    return jax.tree.map(spec, params)


def check_mesh(mesh: Mesh | None, batch_size: int) -> None:
    """Raise ConfigurationError unless a batch can be spread over the mesh evenly."""
    if mesh is None:
        return
    if DATA_AXIS not in mesh.axis_names:
        raise ConfigurationError(f"a batch is spread over an axis 'data', the mesh has {mesh.axis_names}")
    if batch_size % mesh.shape[DATA_AXIS]:
        raise ConfigurationError(
            f"a batch is spread evenly over the {mesh.shape[DATA_AXIS]} devices of the axis 'data', "
            f"given batch_size={batch_size}"
        )


def carry_shardings(carry: Carry, param_specs: Tree, mesh: Mesh) -> Tree:
    """A sharding for each leaf of a carry of shapes.

    The running mean lies as the parameters do, and so does every leaf of the optimiser's state that has the name and
    the shape of a parameter, as moments have; everything else lies whole on every device.
    """
    whole: Any = NamedSharding(mesh, PartitionSpec())
    if param_specs is None:
        return Carry(*(jax.tree.map(lambda _: whole, part) for part in carry))

    def is_spec(leaf: Any) -> bool:
        return isinstance(leaf, PartitionSpec)

    if str(jax.tree.structure(param_specs, is_leaf=is_spec)) != str(jax.tree.structure(carry.params)):
        raise ConfigurationError("param_specs has a PartitionSpec for each parameter, in the parameters' structure")
    of_params = jax.tree.map(lambda spec: NamedSharding(mesh, spec), param_specs, is_leaf=is_spec)
    leaves = jax.tree_util.tree_leaves_with_path(carry.params)
    known = [
        (path, np.shape(leaf), sharding)
        for (path, leaf), sharding in zip(leaves, jax.tree.leaves(of_params), strict=True)
    ]

    def like_a_parameter(path: tuple[Any, ...], leaf: Any) -> Any:
        for suffix, shape, sharding in known:
            if np.shape(leaf) == shape and path[len(path) - len(suffix) :] == suffix:
                return sharding
        return whole

    return Carry(
        params=of_params,
        ema=None if carry.ema is None else of_params,
        state=jax.tree.map(lambda _: whole, carry.state),
        optimizer_state=jax.tree_util.tree_map_with_path(like_a_parameter, carry.optimizer_state),
        alive=whole,
    )


def place(tree: Tree, sharding: Sharding | None) -> Tree:
    """Copies of the leaves, never the caller's own memory, where `sharding` says or on JAX's default device."""
    if sharding is None:
        copies: Tree = _copied(tree)
        return copies
    return jax.tree.map(lambda leaf: place_leaf(leaf, sharding), tree)


@jax.jit  # one small program, where a copy for each shape would be one for each
def _copied(tree: Tree) -> Tree:
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), tree)


def place_leaf(leaf: Any, sharding: Sharding | None) -> jax.Array:
    """As `place`, one array. Every process gives the whole array, and the same."""
    if sharding is None:
        return jnp.array(leaf, copy=True)
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        moved: jax.Array = jax.jit(jnp.copy, out_shardings=sharding)(leaf)
        return moved
    if sharding.is_fully_addressable:
        # Copied first: device_put gives the first device the memory of an array that lies there, may_alias or not.
        placed: jax.Array = jax.device_put(jnp.array(leaf, copy=True), sharding)
        return placed
    whole = np.asarray(leaf)
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])
