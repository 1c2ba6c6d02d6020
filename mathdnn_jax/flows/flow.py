"""Flows: a bijector and a prior make a density that can be evaluated and sampled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mathdnn_jax.bijectors import Bijector, Params
from mathdnn_jax.bijectors.bijector import Map
from mathdnn_jax.errors import ConfigurationError, EventShapeError
from mathdnn_jax.events import Shape, batch_shape_of, check_event
from mathdnn_jax.pickling import reduce_functions
from mathdnn_jax.probability import Distribution


class Flow(NamedTuple):
    """A normalizing flow as pure functions that take the parameters first and are ready for jit, vmap and grad.

    - `init(key) -> params`;
    - `init_from_data(params, x, context=None) -> params`: sets the parameters that are initialised from a first batch
      (those of Glow's actnorm), and returns the others unchanged;
    - `forward(params, x, context=None) -> (z, log_det)` and `inverse(params, z, context=None) -> (x, log_det)`, the
      functions of the bijector;
    - `log_prob(params, x, context=None) -> log p(x)` in nats, of the batch shape. An event with an infinite entry has
      density 0 and log p = −∞, with derivatives of 0; NaN gives NaN. `forward` and `inverse` do not make this
      exception: a network that sees ∞ may return NaN;
    - `sample(params, key, shape, context=None, temperature=1.0) -> x` of shape `shape + event_shape`: f⁻¹(T z), where z
      is drawn from the prior and T is the temperature. A number n stands for the shape (n,);
    - `sample_and_log_prob` takes the same arguments and returns (x, log p(x)) at the cost of the sample alone. log p
      is the flow's own density, whatever the temperature;
    - `bijector` and `prior`, the parts of the flow.

    In a conditional flow every density is conditional on the context. The batch axes of events and the leading axes of
    contexts are broadcast against each other: one context may serve many events, and one event many contexts.
    """

    init: Callable[[jax.Array], Params]
    init_from_data: Callable[..., Params]
    forward: Map
    inverse: Map
    log_prob: Callable[..., jax.Array]
    sample: Callable[..., jax.Array]
    sample_and_log_prob: Callable[..., tuple[jax.Array, jax.Array]]
    bijector: Bijector
    prior: Distribution

    def __reduce__(self) -> tuple[Any, ...]:
        return reduce_functions(self)

    def __copy__(self) -> Flow:
        return self

    def __deepcopy__(self, memo: object) -> Flow:
        return self  # it is immutable, like the functions in it


def flow(
    bijector: Bijector, prior: Distribution, *, name: str = "the flow", event_shape: tuple[int, ...] | None = None
) -> Flow:
    """log p(x) = log p_Z(f(x)) + log|det ∂f/∂x| for x → z = f(x) and the prior p_Z; a sample is f⁻¹(T z), z ~ p_Z.

    Arguments and samples have the dtype of the parameters.

    Args:
        bijector: f, from data to latents.
        prior: p_Z.
        name: what messages call the flow.
        event_shape: the shape of x, which messages then tell; by default they tell what the part that failed takes.

    Returns:
        The flow.

    Raises:
        ConfigurationError: the latent events of the bijector and the events of the prior have different ranks; or (in
            `sample`) the shape is neither a number nor a tuple.
        EventShapeError: (in `log_prob`) the trailing axes of x are not an event.

    Example:
        >>> import jax, mathdnn_jax as mj
        >>> normal = mj.probability.normal((2,))
        >>> flow = mj.flow(mj.chain(scaling=mj.bijectors.scaling(2)), normal)
        >>> params = flow.init(jax.random.key(0))
        >>> x = flow.sample(params, jax.random.key(1), (3,))
        >>> flow.log_prob(params, x).shape
        (3,)
    """
    if bijector.latent_ndims != len(prior.event_shape):
        raise ConfigurationError(
            f"the prior of a flow must match what its bijector returns, events of {bijector.latent_ndims} axes; "
            f"given a prior on events of shape {prior.event_shape}"
        )

    def init_from_data(params: Params, x: jax.Array, context: jax.Array | None = None) -> Params:
        return params if bijector.init_from_data is None else bijector.init_from_data(params, x, context)

    axes = tuple(range(-bijector.event_ndims, 0))

    def log_prob(params: Params, x: jax.Array, context: jax.Array | None = None) -> jax.Array:
        if event_shape is not None:
            check_event(x, event_shape, name)
        infinite = jnp.isinf(x)
        # The stand-in, which lies in the unit interval too, keeps ∞ − ∞ out of the derivatives of other events.
        finite = jnp.where(infinite, jnp.asarray(0.5, x.dtype), x)
        try:
            z, log_det = bijector.forward(params, finite, context)
            value = prior.log_prob(z) + log_det
        except EventShapeError as error:
            raise EventShapeError(f"{name} cannot take x of shape {x.shape}: {error}") from error
        return jnp.where(infinite.any(axes) & ~jnp.isnan(value), -jnp.inf, value)

    def draw(params: Params, key: jax.Array, shape: tuple[int, ...], temperature: float) -> jax.Array:
        del temperature
        leaves = jax.tree.leaves(params)
        return prior.sample(key, shape, jnp.result_type(*leaves) if leaves else float)

    sample, sample_and_log_prob = samplers(bijector, prior, draw)
    return Flow(
        init=bijector.init,
        init_from_data=init_from_data,
        forward=bijector.forward,
        inverse=bijector.inverse,
        log_prob=log_prob,
        sample=sample,
        sample_and_log_prob=sample_and_log_prob,
        bijector=bijector,
        prior=prior,
    )


def samplers(
    bijector: Bijector, prior: Distribution, draw: Callable[[Params, jax.Array, tuple[int, ...], float], jax.Array]
) -> tuple[Callable[..., jax.Array], Callable[..., tuple[jax.Array, jax.Array]]]:
    """`sample` and `sample_and_log_prob` of a flow that draws its latents by `draw(params, key, shape, temperature)`.

    The latents are multiplied by the temperature afterwards, so `draw` needs it only if their range depends on it.
    """

    def tempered(
        params: Params, key: jax.Array, shape: Shape, context: jax.Array | None, temperature: float
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        z = draw(params, key, batch_shape_of(shape), temperature)
        z = jnp.asarray(temperature, z.dtype) * z
        return z, *bijector.inverse(params, z, context)

    def sample(
        params: Params,
        key: jax.Array,
        shape: Shape = (),
        context: jax.Array | None = None,
        temperature: float = 1.0,
    ) -> jax.Array:
        return tempered(params, key, shape, context, temperature)[1]

    def sample_and_log_prob(
        params: Params,
        key: jax.Array,
        shape: Shape = (),
        context: jax.Array | None = None,
        temperature: float = 1.0,
    ) -> tuple[jax.Array, jax.Array]:
        z, x, log_det = tempered(params, key, shape, context, temperature)
        return x, prior.log_prob(z) - log_det

    return sample, sample_and_log_prob
