"""A network that is a readable list of layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from mathdnn_jax.errors import ConfigurationError, EventShapeError, ImageError, MathdnnError, ParameterStructureError
from mathdnn_jax.nets.layers.dense import Flatten
from mathdnn_jax.nets.layers.layer import Layer, Shape

NamedLayers = tuple[tuple[str, Layer], ...]
T = TypeVar("T")


class Sequential(nn.Module):
    """A network x → layer_n(… layer_1(x)), written as its named layers in their order.

    `Sequential(conv1_0=Conv(16, 3, padding=1), conv1_1=BatchNorm(), conv1_2=Relu(), flatten=Flatten(), fc=Dense(10))`.
    `Sequential(layers=[("conv1_0", Conv(16, 3)), …])` takes the same as a list, and `layers` is how it is read back. A
    network is a value: it can be compared, hashed, and passed to jit as a static argument.

    x is (N, H, W, C) for images, (N, C) for vectors; a bare event and more batch axes work too wherever the layers tell
    how many axes an event has (all but networks that begin with `Flatten`, which have one batch axis). It is cast to
    the parameters' dtype, in which the network computes.

    Variables are ordinary Flax collections with one entry per layer that keeps arrays: `params[name]["kernel"]`,
    ["bias"], ["scale"], and `batch_stats[name]["mean"]`, ["var"]. Layer names of the networks in this library are the
    names of PyTorch's submodules with underscores for the dots: `conv1.0` is `conv1_0`.

    - `network.init(key, x) -> variables`, float32, drawn as PyTorch draws them; running statistics are 0 and 1;
    - `network.apply(variables, x)` is eval mode;
    - `network.apply(variables, x, train=True, mutable=["batch_stats"]) -> (y, {"batch_stats": …})` is train mode, with
      `rngs={"dropout": key}` where there is dropout. Flax's `capture_intermediates=True` returns every layer's output.

    Raises:
        ConfigurationError: a layer is none, or a name is given twice, or is not a Python identifier; or (when applied)
            train mode cannot update the running statistics, or has no key for dropout.
        EventShapeError, ImageError: (when applied) x has the wrong axes, channels or dtype, or is too small; the
            message names the layer.
        ParameterStructureError: (when applied) the variables are not this network's: a layer's arrays are missing
            (its running statistics, say), or belong to no layer.
    """

    layers: NamedLayers

    def __init__(
        self,
        layers: Iterable[tuple[str, Layer]] | Mapping[str, Layer] = (),
        *,
        parent: Any = nn.module._unspecified_parent,
        name: str | None = None,
        **named: Layer,
    ) -> None:
        # Flax clones a module by its fields, so `layers`, `parent` and `name` cannot be layers of these names.
        self.layers = _checked(layers, named, name, parent)
        self.parent = parent
        self.name = name
        self.__post_init__()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """X (…, *event) → the last layer's output (…, *output event)."""
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise ImageError(f"a network takes floating-point events, given {x.dtype}; scale images to [0, 1] first")
        self._check_variables()
        batch_shape, x = _one_batch_axis(x, self.event_ndims)
        for name, layer in self.layers:
            x = _Applied(layer, name=name)(x, train)
        if batch_shape is not None:
            x = x.reshape(*batch_shape, *x.shape[1:])
        return x

    @property
    def event_ndims(self) -> int | None:
        """How many trailing axes of x make one event; None where the layers do not tell, and x has one batch axis."""
        for _, layer in self.layers:
            if layer.event_ndims is not None:
                return layer.event_ndims
            if isinstance(layer, Flatten):
                return None
        return 1

    def output_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        """The shape of every layer's output for events of `input_shape`; nothing is computed.

        Raises:
            EventShapeError, ImageError: a layer takes no such events; the message names it.
        """
        shapes = {}
        shape = tuple(input_shape)
        for name, layer in self.layers:
            shape = shapes[name] = _naming(name, layer.output_shape, shape)
        return shapes

    def _check_variables(self) -> None:
        names = {name for name, _ in self.layers}
        for collection in ("params", "batch_stats"):
            unknown = sorted(set(self.variables.get(collection, {})) - names)
            if unknown:
                raise ParameterStructureError(
                    f"these variables belong to no layer of the network: {collection} of {', '.join(unknown)}; "
                    f"its layers are {', '.join(name for name, _ in self.layers)}"
                )


class _Applied(nn.Module):
    """Holds the arrays of one layer under its name."""

    layer: Layer

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        return _naming(str(self.name), self._apply, x, train)

    def _apply(self, x: jax.Array, train: bool) -> jax.Array:
        event_shape = x.shape[1:]
        self.layer.output_shape(event_shape)
        slots = self.layer.slots(event_shape)
        values: dict[str, dict[str, jax.Array]] = {}
        for collection, arrays in slots.items():
            for name, slot in arrays.items():
                if slot.optional and not self.has_variable(collection, name) and not self.is_initializing():
                    continue
                self._check(collection, name, slot.shape, event_shape)
                if collection == "params":
                    array = self.param(name, slot.initialize, slot.shape)
                else:
                    array = self.variable(collection, name, slot.initialize, None, slot.shape).value
                values.setdefault(collection, {})[name] = array
        key = self.make_rng("dropout") if train and self.has_rng("dropout") else None
        y, statistics = self.layer.apply(values, x, train=train, key=key)
        if statistics and not self.is_initializing():
            if not self.is_mutable_collection("batch_stats"):
                raise ConfigurationError(
                    "train mode updates the running statistics: call apply(variables, x, train=True, "
                    'mutable=["batch_stats"]), which returns them beside the output; eval mode is train=False'
                )
            for name, array in statistics.items():
                self.put_variable("batch_stats", name, array)
        return y

    def _check(self, collection: str, name: str, shape: Shape, event_shape: Shape) -> None:
        if self.has_variable(collection, name):
            stored = jnp.shape(self.get_variable(collection, name))
            if stored != shape:
                raise EventShapeError(
                    f"its {name} has shape {stored}, events of shape {event_shape} need one of shape {shape}; "
                    f"the channels are the last axis"
                )
        elif not self.is_initializing():
            what = "running statistics are" if collection == "batch_stats" else f"{name} is"
            raise ParameterStructureError(
                f"its {what} missing from the variables: {collection}[{self.name!r}][{name!r}] is expected; pass "
                f"all collections that init returned"
            )


def _checked(layers: Any, named: Mapping[str, Layer], name: Any, parent: Any) -> NamedLayers:
    for keyword, value in (("name", name), ("parent", parent)):
        if isinstance(value, Layer):
            raise ConfigurationError(f"{keyword!r} is a field of every Flax module; give the layer another name")
    if not isinstance(layers, Iterable):
        raise ConfigurationError(f"layers are pairs (name, layer), or a mapping of them, given {layers!r}")
    pairs = list(layers.items()) if isinstance(layers, Mapping) else list(layers)
    pairs += named.items()
    for pair in pairs:
        if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str)):
            raise ConfigurationError(f"layers are pairs (name, layer), given {pair!r}")
        if not pair[0].isidentifier():
            raise ConfigurationError(f"a layer's name is a Python identifier such as conv1_0, given {pair[0]!r}")
        if not isinstance(pair[1], Layer):
            raise ConfigurationError(f"layer {pair[0]!r} must be a description such as Conv(16, 3), given {pair[1]!r}")
    names = [layer_name for layer_name, _ in pairs]
    twice = sorted({layer_name for layer_name in names if names.count(layer_name) > 1})
    if twice:
        raise ConfigurationError(f"these names are given to several layers: {', '.join(twice)}")
    return tuple(pairs)


def _one_batch_axis(x: jax.Array, event_ndims: int | None) -> tuple[Shape | None, jax.Array]:
    """The batch shape, None where x has one batch axis already, and x with one."""
    if event_ndims is None or x.ndim == event_ndims + 1:
        if x.ndim == 0:
            raise EventShapeError("a network takes events with one batch axis, given a single number")
        return None, x
    if x.ndim < event_ndims:
        raise EventShapeError(
            f"this network's events have {event_ndims} axes, the channels last, given an array of shape {x.shape}"
        )
    first = x.ndim - event_ndims
    return x.shape[:first], x.reshape(-1, *x.shape[first:])


def _naming(name: str, function: Callable[..., T], *arguments: Any) -> T:
    try:
        return function(*arguments)
    except MathdnnError as error:
        raise type(error)(f"layer {name!r}: {error}") from error
