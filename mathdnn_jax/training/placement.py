"""Placing arrays on one device, or sharding them over a mesh of devices."""

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
    """Make a mesh of the devices of all processes, with the axis "data" and, if `model` is above 1, the axis "model".

    Args:
        data: Number of devices that a batch is spread over; by default the number of all devices divided by `model`.
        model: Number of devices that a wide layer is spread over.

    Returns:
        A mesh for `fit(…, mesh=…)`, with axes of type `Auto`.

    Raises:
        ConfigurationError: There are fewer devices than requested.
    """
    there = len(jax.devices())
    data = there // max(model, 1) if data is None else data
    if data < 1 or model < 1 or data * model > there:
        raise ConfigurationError(
            f"a mesh of {data} x {model} devices was requested, but there are {there}; on a CPU, "
            f"XLA_FLAGS=--xla_force_host_platform_device_count={max(data * model, 1)} makes that many virtual devices"
        )
    shape, names = ((data, model), (DATA_AXIS, MODEL_AXIS)) if model > 1 else ((data,), (DATA_AXIS,))
    devices = jax.devices()[: data * model]
    return jax.make_mesh(shape, names, axis_types=(AxisType.Auto,) * len(names), devices=devices)


def shard_wide_layers(params: Tree, mesh: Mesh, least: int = 512) -> Tree:
    """Choose PartitionSpecs that spread the outputs of wide layers over the mesh's axis "model" and replicate the rest.

    A leaf is spread along its last axis if this axis has at least `least` entries and the size of the mesh's axis
    divides it: kernels (inputs, outputs) are split by columns, together with their biases. XLA inserts the necessary
    communication.

    Returns:
        A tree like `params` with a PartitionSpec for each leaf, for `fit(…, param_specs=…)`.

    Raises:
        ConfigurationError: The mesh has no axis "model".
    """
    if MODEL_AXIS not in mesh.axis_names:
        raise ConfigurationError(f"layers are spread over an axis 'model', but the mesh has {mesh.axis_names}")

    def spec(leaf: Any) -> PartitionSpec:
        shape = np.shape(leaf)
        if not shape or shape[-1] < least or shape[-1] % mesh.shape[MODEL_AXIS]:
            return PartitionSpec()
        return PartitionSpec(*(None,) * (len(shape) - 1), MODEL_AXIS)

    return jax.tree.map(spec, params)


def check_mesh(mesh: Mesh | None, batch_size: int) -> None:
    """Raise ConfigurationError unless a batch can be spread evenly over the mesh."""
    if mesh is None:
        return
    if DATA_AXIS not in mesh.axis_names:
        raise ConfigurationError(f"a batch is spread over an axis 'data', but the mesh has {mesh.axis_names}")
    if batch_size % mesh.shape[DATA_AXIS]:
        raise ConfigurationError(
            f"given batch_size={batch_size}: a batch must be divisible by the {mesh.shape[DATA_AXIS]} devices of the "
            "axis 'data'"
        )


def carry_shardings(carry: Carry, param_specs: Tree, mesh: Mesh) -> Tree:
    """The sharding of each leaf of a carry.

    The moving average is sharded like the parameters, and so is every leaf of the optimiser's state that has the name
    and the shape of a parameter, as Adam's moments have. Everything else is replicated on every device.
    """
    whole: Any = NamedSharding(mesh, PartitionSpec())
    if param_specs is None:
        return Carry(*(jax.tree.map(lambda _: whole, part) for part in carry))

    def is_spec(leaf: Any) -> bool:
        return isinstance(leaf, PartitionSpec)

    if str(jax.tree.structure(param_specs, is_leaf=is_spec)) != str(jax.tree.structure(carry.params)):
        raise ConfigurationError("param_specs must have a PartitionSpec for each parameter, in the same structure")
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
    """Copies of the leaves, never the caller's own memory, with the given sharding or on JAX's default device."""
    if sharding is None:
        copies: Tree = _copied(tree)
        return copies
    return jax.tree.map(lambda leaf: place_leaf(leaf, sharding), tree)


@jax.jit  # one small program instead of one for each shape
def _copied(tree: Tree) -> Tree:
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), tree)


def place_leaf(leaf: Any, sharding: Sharding | None) -> jax.Array:
    """Like `place`, for one array. Every process passes the same whole array."""
    if sharding is None:
        return jnp.array(leaf, copy=True)
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        moved: jax.Array = jax.jit(jnp.copy, out_shardings=sharding)(leaf)
        return moved
    if sharding.is_fully_addressable:
        # Copied first: device_put lets the first device share the memory of an array that is already there, whatever
        # may_alias says.
        placed: jax.Array = jax.device_put(jnp.array(leaf, copy=True), sharding)
        return placed
    whole = np.asarray(leaf)
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])
