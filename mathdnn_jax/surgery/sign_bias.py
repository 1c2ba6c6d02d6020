"""Writes convolution, activation and batch norm in sign-bias form."""

from __future__ import annotations

from typing import Any

from mathdnn_jax.nets import BatchNorm, Sequential
from mathdnn_jax.surgery.absorption import reduce_to_sign_and_bias
from mathdnn_jax.surgery.layer_list import LayerList, Variables
from mathdnn_jax.surgery.report import SurgeryReport


def to_sign_bias(network: Sequential, variables: Variables) -> tuple[Sequential, dict[str, Any], SurgeryReport]:
    """Rewrite each batch norm after an activation: BN(σ(w x + b)) = S ⊙ σ(w̃ x + b̃) ⊕ B in eval mode.

    w̃ = |γ|/√(σ²+ε) w, b̃ = |γ|/√(σ²+ε) b, S = sign γ ∈ {−1, +1} with S = +1 where γ = 0, and B = β − γ μ/√(σ²+ε). The
    activation must be positively homogeneous, σ(a x) = a σ(x) for a > 0: a ReLU, or a leaky ReLU of any slope. The
    linear layer may be a convolution, a transposed convolution or a dense layer, and pooling, repetition or dropout may
    stand between the activation and the batch norm. w̃ and b̃ alone do not suffice, because a ReLU has no negative
    values, but a batch norm does.

    Each such batch norm becomes a `SignBias` with the same name, even if S = +1 and B = 0. `remove_batch_norm` does the
    same and then removes what it can. The report lists all other batch norms as "left", with the reason.

    Returns:
        (network, variables, report). The inputs are not changed.

    Raises:
        ConfigurationError, ParameterStructureError, EventShapeError, NonFiniteError: As for `remove_batch_norm`.

    Source: course 000, Q1.

    Example:
        >>> import jax, mathdnn_jax as mj
        >>> net = mj.conv_relu_bn(4, 3)
        >>> variables = jax.jit(net.init)(jax.random.key(0), jax.numpy.ones((1, 8, 8, 3)))
        >>> form, form_variables, report = mj.to_sign_bias(net, variables)
        >>> form.layers[-1][1].kind, form_variables["params"]["bn"]["sign"].tolist()
        ('SignBias', [1.0, 1.0, 1.0, 1.0])
    """
    layers = LayerList(network, variables)
    for item in [item for item in layers.items if isinstance(item.layer, BatchNorm)]:
        reason = reduce_to_sign_and_bias(layers, item)
        if reason is not None:
            item.note("left", reason)
    return layers.assemble("to_sign_bias")
