"""The network of a coupling: it sees the kept entries and returns parameters for the moved ones.

If a mask varies only along the last axis (the entries of a vector, the channels of an image), the network receives the
kept entries in the shape of the event with a shorter last axis, and returns that shape with the moved entries. The kept
channels of an image are thus an image again. Other masks, such as a checkerboard, have no such shape. For them the kept
entries are flattened in C order; or, with `layout="masked"`, the network receives the whole event with zeros in place
of the moved entries and returns a whole event for each parameter, of which only the moved entries are used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from mathdnn_jax.bijectors.bijector import Params
from mathdnn_jax.bijectors.conditioner import pure_conditioner
from mathdnn_jax.bijectors.index_set import IndexSet, index_sets, pick
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.events import check_event

ConditionerInput = Literal["kept", "masked"]
"""What the network of a coupling receives: the kept entries alone, or the whole event with the moved ones zeroed."""


class CouplingNetwork(NamedTuple):
    """The index sets of a coupling, and its network as pure functions.

    - `init(key) -> params`, the network's own parameters;
    - `view(x, context) -> (shape, viewed)`: the shape of x broadcast against the context's leading axes, and x in that
      shape, reshaped so that its last axis is the one that `kept` and `moved` index;
    - `values(params, viewed, context) -> tuple`: one array (…, |Ωᶜ|) for each parameter of a moved entry;
    - `moved`: the entries Ωᶜ of the viewed last axis;
    - `axes`: the trailing axes of the view that make up one event.
    """

    init: Callable[[jax.Array], Params]
    view: Callable[[jax.Array, jax.Array | None], tuple[tuple[int, ...], jax.Array]]
    values: Callable[[Params, jax.Array, jax.Array | None], tuple[jax.Array, ...]]
    moved: IndexSet
    axes: tuple[int, ...]


def coupling_network(
    conditioner: nn.Module,
    mask: ArrayLike,
    parameters: int,
    map_name: str,
    layout: ConditionerInput = "kept",
    context_shape: tuple[int, ...] | None = None,
) -> CouplingNetwork:
    """Combine a Flax module and a mask for a coupling that needs `parameters` numbers for each moved entry.

    The network returns either one array whose last axis holds these numbers in blocks (the first parameter of every
    moved entry, then the second of every moved entry, and so on) or a tuple of the blocks.

    Raises:
        ConfigurationError: Ω is not a proper non-empty subset, or the layout is unknown; or (in `init` and when
            applied) the network keeps state besides its parameters, returns a wrong shape, or needs a context and got
            none.
        EventShapeError: (when applied) the trailing axes of x differ from the mask's shape.
    """
    if layout not in ("kept", "masked"):
        raise ConfigurationError(f"the layout of a coupling is 'kept' or 'masked', given {layout!r}")
    kept, _ = index_sets(mask)
    mask = np.asarray(mask)
    event_shape = mask.shape
    along_last = mask.reshape(-1, event_shape[-1])
    if (along_last == along_last[0]).all():
        kept, moved = index_sets(along_last[0])
        view_shape = event_shape
    else:
        kept, moved = index_sets(mask.ravel())
        view_shape = (mask.size,)
    if layout == "kept":
        input_shape, output_shape = (*view_shape[:-1], len(kept.indices)), (*view_shape[:-1], len(moved.indices))
    else:
        input_shape = output_shape = event_shape
    network = pure_conditioner(conditioner, input_shape, context_shape, map_name)

    def view(x: jax.Array, context: jax.Array | None) -> tuple[tuple[int, ...], jax.Array]:
        batch_shape = network.batch(check_event(x, event_shape, map_name), context)
        shape = (*batch_shape, *event_shape)
        return shape, jnp.broadcast_to(x, shape).reshape(*batch_shape, *view_shape)

    def values(params: Params, viewed: jax.Array, context: jax.Array | None) -> tuple[jax.Array, ...]:
        batch_shape = viewed.shape[: viewed.ndim - len(view_shape)]
        if layout == "kept":
            seen = pick(viewed, kept)
        else:
            event = viewed.reshape(*batch_shape, *event_shape)
            seen = jnp.where(mask, event, jnp.zeros((), event.dtype))
        returned = network.apply(params, seen, batch_shape, context)
        blocks = _blocks(returned, (*batch_shape, *output_shape), parameters)
        if layout == "kept":
            return blocks
        return tuple(pick(block.reshape(*batch_shape, *view_shape), moved) for block in blocks)

    return CouplingNetwork(network.init, view, values, moved, tuple(range(-len(view_shape), 0)))


def _blocks(returned: object, expected: tuple[int, ...], parameters: int) -> tuple[jax.Array, ...]:
    whole = (*expected[:-1], parameters * expected[-1])
    if isinstance(returned, jax.Array) and returned.shape == whole:
        return (returned,) if parameters == 1 else tuple(jnp.split(returned, parameters, axis=-1))
    if isinstance(returned, tuple) and [getattr(block, "shape", None) for block in returned] == [expected] * parameters:
        return returned
    given = getattr(returned, "shape", None) or (
        [getattr(block, "shape", type(block).__name__) for block in returned]
        if isinstance(returned, tuple)
        else type(returned).__name__
    )
    raise ConfigurationError(
        f"the conditioner of a coupling must return an array of shape {whole}, {parameters} for each of "
        f"{expected[-1]} moved entries, or a tuple of {parameters} arrays of shape {expected}; it returned {given}"
    )
