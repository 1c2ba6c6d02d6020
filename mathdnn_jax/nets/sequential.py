"""Networks written as a list of named layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from mathdnn_jax.errors import ConfigurationError, EventShapeError, ImageError, MathdnnError, ParameterStructureError
from mathdnn_jax.nets.layers.dense import Flatten
from mathdnn_jax.nets.layers.layer import Layer
from mathdnn_jax.nets.shapes import Shape

NamedLayers = tuple[tuple[str, Layer], ...]
T = TypeVar("T")


class Sequential(nn.Module):
    """The network x → layer_n(… layer_1(x)), written as its named layers in order.

    The layers are given as keyword arguments, or as pairs in `Sequential(layers=[("conv1_0", Conv(16, 3)), …])`. The
    attribute `layers` holds the pairs. A network is a value: it can be compared, hashed, and passed to jit as a static
    argument.

    x is (N, H, W, C) for images and (N, C) for vectors. A single event and additional batch axes are also accepted,
    provided that the layers determine how many axes an event has. They do unless the network begins with `Flatten`; x
    then has exactly one batch axis. x is cast to the parameters' dtype, in which the network computes.

    Variables are ordinary Flax collections with one entry for each layer that keeps arrays: `params[name]["kernel"]`,
    ["bias"], ["scale"], and `batch_stats[name]["mean"]`, ["var"]. In this library's own networks, a layer's name is
    that of PyTorch's submodule with underscores instead of dots: `conv1.0` is `conv1_0`.

    - `network.init(key, x) -> variables` draws float32 parameters from PyTorch's default distributions, and sets
      running means to 0 and running variances to 1.
    - `network.apply(variables, x)` applies the network in eval mode.
    - `network.apply(variables, x, train=True, mutable=["batch_stats"]) -> (y, {"batch_stats": …})` applies it in train
      mode; networks with dropout also need `rngs={"dropout": key}`.

    Flax's `capture_intermediates=True` returns every layer's output.

    Raises:
        ConfigurationError: A layer is not a `Layer`, a name is used twice, or a name is not a Python identifier; or
            (when applied) train mode cannot update the running statistics, or has no key for dropout.
        EventShapeError, ImageError: (when applied) x has the wrong axes, channels or dtype, or is too small; the
            message names the layer.
        ParameterStructureError: (when applied) The variables are not those of this network: a layer's arrays (its
            running statistics, for example) are missing, or some arrays belong to no layer.

    Example:
        >>> import jax, jax.numpy as jnp, mathdnn_jax as mj
        >>> from mathdnn_jax.nets import BatchNorm, Conv, Dense, Flatten, Relu
        >>> network = mj.Sequential(conv=Conv(4, 3), bn=BatchNorm(), relu=Relu(), flatten=Flatten(), fc=Dense(2))
        >>> x = jnp.ones((5, 8, 8, 3), jnp.float32)
        >>> variables = network.init(jax.random.key(0), x)
        >>> network.apply(variables, x).shape
        (5, 2)
        >>> y, updated = network.apply(variables, x, train=True, mutable=["batch_stats"])
        >>> updated["batch_stats"]["bn"]["mean"].shape
        (4,)
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
        # Flax clones a module by passing its fields, so no layer can be called `layers`, `parent` or `name`.
        self.layers = _checked(layers, named, name, parent)
        self.parent = parent
        self.name = name
        self.__post_init__()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """x (…, *event) → the last layer's output (…, *output event)."""
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise ImageError(f"got events of dtype {x.dtype}; expected floating point, so scale images to [0, 1] first")
        self._check_variables()
        batch_shape, x = _with_one_batch_axis(x, self.event_ndims)
        for name, layer in self.layers:
            x = _Applied(layer, name=name)(x, train)
        if batch_shape is not None:
            x = x.reshape(*batch_shape, *x.shape[1:])
        return x

    @property
    def event_ndims(self) -> int | None:
        """The number of trailing axes of x that form one event, or None if x must have exactly one batch axis."""
        for _, layer in self.layers:
            if layer.event_ndims is not None:
                return layer.event_ndims
            if isinstance(layer, Flatten):
                return None
        return 1

    def output_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        """Return the shape of every layer's output for events of `input_shape`, without computing any output.

        Raises:
            EventShapeError, ImageError: A layer does not accept its events; the message names it.
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
                    f"got {collection} of {', '.join(unknown)}, which are not layers of the network; its layers are "
                    f"{', '.join(name for name, _ in self.layers)}"
                )


class _Applied(nn.Module):
    """The Flax module that holds the arrays of one layer under its name."""

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
                    "the running statistics are not mutable, but train mode updates them; call apply(variables, x, "
                    'train=True, mutable=["batch_stats"]), which also returns them, or use eval mode, train=False'
                )
            for name, array in statistics.items():
                self.put_variable("batch_stats", name, array)
        return y

    def _check(self, collection: str, name: str, shape: Shape, event_shape: Shape) -> None:
        if self.has_variable(collection, name):
            stored = jnp.shape(self.get_variable(collection, name))
            if stored != shape:
                raise EventShapeError(
                    f"its {name} has shape {stored}, but events of shape {event_shape} need shape {shape}; "
                    f"the channels must be the last axis"
                )
        elif not self.is_initializing():
            what = "running statistics are" if collection == "batch_stats" else f"{name} is"
            raise ParameterStructureError(
                f"its {what} missing from the variables; expected {collection}[{self.name!r}][{name!r}], so pass all "
                f"collections that init returned"
            )


def _checked(layers: Any, named: Mapping[str, Layer], name: Any, parent: Any) -> NamedLayers:
    for keyword, value in (("name", name), ("parent", parent)):
        if isinstance(value, Layer):
            raise ConfigurationError(f"{keyword!r} is a field of every Flax module; give the layer another name")
    if not isinstance(layers, Iterable):
        raise ConfigurationError(f"got layers={layers!r}; expected pairs (name, layer) or a mapping of names to layers")
    pairs = list(layers.items()) if isinstance(layers, Mapping) else list(layers)
    pairs += named.items()
    for pair in pairs:
        if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str)):
            raise ConfigurationError(f"got {pair!r} among the layers; expected pairs (name, layer)")
        if not pair[0].isidentifier():
            raise ConfigurationError(f"got a layer named {pair[0]!r}; expected a Python identifier such as conv1_0")
        if not isinstance(pair[1], Layer):
            raise ConfigurationError(
                f"got {pair[1]!r} as layer {pair[0]!r}; expected a description such as Conv(16, 3)"
            )
    names = [layer_name for layer_name, _ in pairs]
    twice = sorted({layer_name for layer_name in names if names.count(layer_name) > 1})
    if twice:
        raise ConfigurationError(f"got several layers named {', '.join(twice)}; a name must be unique")
    return tuple(pairs)


def _with_one_batch_axis(x: jax.Array, event_ndims: int | None) -> tuple[Shape | None, jax.Array]:
    """x with its batch axes merged into one, and the batch shape, or None if x already has one batch axis."""
    if event_ndims is None or x.ndim == event_ndims + 1:
        if x.ndim == 0:
            raise EventShapeError("got a single number; expected events with a batch axis")
        return None, x
    if x.ndim < event_ndims:
        raise EventShapeError(
            f"got an array of shape {x.shape}; expected events with {event_ndims} axes, the channels last"
        )
    first = x.ndim - event_ndims
    return x.shape[:first], x.reshape(-1, *x.shape[first:])


def _naming(name: str, function: Callable[..., T], *arguments: Any) -> T:
    """Call a function, and put the layer's name in front of any error message."""
    try:
        return function(*arguments)
    except MathdnnError as error:
        raise type(error)(f"layer {name!r}: {error}") from error
