"""A network as a list of layers with their arrays, which passes rewrite and assemble into a network again."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.errors import ConfigurationError, EventShapeError, NonFiniteError, ParameterStructureError
from mathdnn_jax.nets import BatchNorm, Conv, ConvTranspose, Dense, Layer, Pad, ScaleShift, Sequential, SignBias
from mathdnn_jax.surgery.report import Action, LayerReport, SurgeryReport

Linear = Conv | ConvTranspose | Dense
Variables = Mapping[str, Any]

_ARRAYS: dict[type[Layer], tuple[str, ...]] = {
    Conv: ("kernel",),
    ConvTranspose: ("kernel",),
    Dense: ("kernel",),
    ScaleShift: ("scale", "bias"),
    SignBias: ("sign", "bias"),
    Pad: ("value",),
}


@dataclasses.dataclass(eq=False)
class Item:
    """A layer of the list. Arrays that a pass computes are float64 until the network is assembled."""

    name: str
    layer: Layer
    params: dict[str, Any]
    stats: dict[str, Any]
    dtype: np.dtype[Any]
    dtypes: dict[str, np.dtype[Any]] = dataclasses.field(default_factory=dict)
    computed: set[str] = dataclasses.field(default_factory=set)
    detail: list[str] = dataclasses.field(default_factory=list)
    others: list[str] = dataclasses.field(default_factory=list)
    action: Action = "kept"

    def array(self, name: str) -> np.ndarray:
        """Return a parameter in float64."""
        return np.asarray(self.params[name]).astype(np.float64)

    def set(self, **arrays: np.ndarray) -> None:
        """Store computed parameters."""
        self.params.update(arrays)
        self.computed.update(arrays)

    def note(self, action: Action, detail: str, *others: str) -> None:
        """Record what was done to the layer, and which other layers took part."""
        self.action = action
        self.detail.append(detail)
        self.others += [other for other in others if other not in self.others]


class LayerList:
    """The current layers of a network in their order, and the layers that were removed.

    Raises:
        ConfigurationError: The network is not a Sequential.
        ParameterStructureError: The variables do not belong to the network.
        EventShapeError: An array does not have the shape that its layer requires.
    """

    def __init__(self, network: Any, variables: Variables) -> None:
        if not isinstance(network, Sequential):
            raise ConfigurationError(f"surgery needs a Sequential, whose layers can be read; given {network!r}")
        names = [name for name, _ in network.layers]
        for collection in ("params", "batch_stats"):
            unknown = sorted(set(variables.get(collection, {})) - set(names))
            if unknown:
                raise ParameterStructureError(
                    f"these variables do not belong to any layer of the network: {collection} of {', '.join(unknown)}"
                )
        self.variables = variables
        self.kinds = {name: layer.kind for name, layer in network.layers}
        self.order = names
        self.removed: dict[str, Item] = {}
        self.items = [_item(name, layer, variables) for name, layer in network.layers]

    def index(self, item: Item) -> int:
        """Return the position of the item in the list."""
        return self.items.index(item)

    def remove(self, item: Item) -> None:
        """Remove a layer."""
        del self.items[self.index(item)]
        self.removed[item.name] = item

    def insert_before(self, item: Item, name: str, layer: Layer, **arrays: np.ndarray) -> Item:
        """Insert a new layer before `item`, called `name` or, if that name is taken, `name` with a number appended."""
        fresh = next(n for n in (name, *(f"{name}_{k}" for k in range(len(self.order)))) if n not in self.order)
        new = Item(fresh, layer, {}, {}, item.dtype)
        new.set(**arrays)
        self.items.insert(self.index(item), new)
        self.order.insert(self.order.index(item.name), fresh)
        self.kinds[fresh] = layer.kind
        return new

    def assemble(self, surgery: str) -> tuple[Sequential, dict[str, Any], SurgeryReport]:
        """Return the network, its variables in their old dtypes, and the report.

        Raises:
            NonFiniteError: A computed array does not fit into its dtype.
        """
        variables = {key: value for key, value in self.variables.items() if key not in ("params", "batch_stats")}
        variables["params"] = {item.name: _rounded(item) for item in self.items if item.params}
        stats = {item.name: item.stats for item in self.items if item.stats}
        if stats:
            variables["batch_stats"] = stats
        network = Sequential(layers=[(item.name, item.layer) for item in self.items])
        items = {**self.removed, **{item.name: item for item in self.items}}
        entries = [
            LayerReport(name, self.kinds[name], item.action, "; ".join(item.detail), tuple(item.others))
            for name, item in ((name, items[name]) for name in self.order)
        ]
        return network, variables, SurgeryReport(surgery, tuple(entries))


def _item(name: str, layer: Layer, variables: Variables) -> Item:
    params = dict(variables.get("params", {}).get(name, {}))
    stats = dict(variables.get("batch_stats", {}).get(name, {}))
    expected = _ARRAYS.get(type(layer), ())
    if isinstance(layer, Conv | ConvTranspose | Dense) and layer.bias:
        expected = (*expected, "bias")
    if isinstance(layer, BatchNorm):
        expected = ("scale", "bias") if layer.affine else ()
        if set(stats) - {"num_batches_tracked"} != {"mean", "var"}:
            raise ParameterStructureError(
                f"layer {name!r}: its running statistics are missing; batch_stats[{name!r}] must hold mean and var, "
                f"found {sorted(stats) or 'nothing'}; pass all collections that init returned"
            )
    # Only the class of a layer that is not part of this library knows which arrays it has.
    foreign = type(layer) not in _ARRAYS and not isinstance(layer, BatchNorm) and type(layer).slots is not Layer.slots
    if set(params) != set(expected) and not foreign:
        raise ParameterStructureError(
            f"layer {name!r}: params[{name!r}] must hold {', '.join(expected) or 'nothing'}, "
            f"found {', '.join(sorted(params)) or 'nothing'}"
        )
    if not foreign:
        _check_shapes(name, layer, params, stats)
    dtypes = {key: np.dtype(array.dtype) for key, array in {**stats, **params}.items()}
    # The counter of batches is a whole number, and its dtype is not one for weights.
    floating = [dtype for dtype in dtypes.values() if jnp.issubdtype(dtype, jnp.floating)]
    dtype = dtypes.get("kernel", next(iter(floating), np.dtype(np.float32)))
    return Item(name, layer, params, stats, dtype, dtypes)


def _check_shapes(name: str, layer: Layer, params: Mapping[str, Any], stats: Mapping[str, Any]) -> None:
    shapes = {key: np.shape(array) for key, array in {**params, **stats}.items() if key != "num_batches_tracked"}
    kernel = shapes.pop("kernel", None)
    if kernel is not None and isinstance(layer, Conv | ConvTranspose | Dense):
        extents = () if isinstance(layer, Dense) else layer.kernel
        if len(kernel) != len(extents) + 2 or kernel[: len(extents)] != extents or kernel[-1] != layer.features:
            raise EventShapeError(
                f"layer {name!r}: its kernel has shape {kernel}, expected "
                f"({', '.join(map(str, (*extents, 'inputs', layer.features)))})"
            )
        shapes["features"] = (layer.features,)
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise EventShapeError(f"layer {name!r}: its arrays must have one number per channel, given shapes {shapes}")


def on_device(array: np.ndarray) -> jax.Array:
    """Return a JAX array of the same dtype, even a float64 one outside the scope in which JAX enables them.

    On a CPU the array shares the memory if JAX can use it as it is.
    """
    with contextlib.nullcontext() if array.dtype != np.float64 else jax.enable_x64(True):
        placed: jax.Array = jax.device_put(array, may_alias=True)
        return placed


def fitted(array: np.ndarray, dtype: np.dtype[Any], what: str) -> jax.Array:
    """Round a computed array to its final dtype.

    Raises:
        NonFiniteError: An entry does not fit into the dtype.
    """
    with np.errstate(over="ignore"):
        rounded = array.astype(dtype)
    if not np.isfinite(rounded.astype(np.float64)).all():
        raise NonFiniteError(
            f"{what} does not fit into {dtype} (greatest magnitude {np.abs(array).max():.3g}); convert the variables "
            f"to a wider dtype first"
        )
    return on_device(rounded)


def _rounded(item: Item) -> dict[str, Any]:
    arrays = dict(item.params)
    for name in item.computed & set(arrays):
        dtype = item.dtypes.get(name, item.dtype)
        arrays[name] = fitted(arrays[name], dtype, f"layer {item.name!r}: its new {name}")
    return arrays
