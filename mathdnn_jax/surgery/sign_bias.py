"""The sign-bias form of convolution, activation, batch norm."""

from __future__ import annotations

from typing import Any

from mathdnn_jax.nets import BatchNorm, Sequential
from mathdnn_jax.surgery import rules
from mathdnn_jax.surgery.layer_list import Bench, Variables
from mathdnn_jax.surgery.report import SurgeryReport


def to_sign_bias(network: Sequential, variables: Variables) -> tuple[Sequential, dict[str, Any], SurgeryReport]:
    """BN(σ(w x + b)) = S ⊙ σ(w̃ x + b̃) ⊕ B in eval mode, for every batch norm behind an activation.

    w̃ = |γ|/√(σ²+ε) w, b̃ = |γ|/√(σ²+ε) b, S = sign γ ∈ {−1, +1} with S = +1 where γ = 0, B = β − γ μ/√(σ²+ε). It needs
    a positively homogeneous activation, σ(a x) = a σ(x) for a > 0: ReLU, and leaky ReLU of any slope. It holds for
    dense layers and transposed convolutions as for convolutions, and with pooling, repetition or dropout between the
    activation and the batch norm. w̃ and b̃ alone cannot do it: ReLU has no negative values, the batch norm has.

    Each such batch norm becomes a `SignBias` under its name, even where S = +1 and B = 0; `remove_batch_norm` does the
    same and then gets rid of what it can. The report lists all others as left, and why.

    Raises:
        ConfigurationError, ParameterStructureError, EventShapeError, NonFiniteError: as `remove_batch_norm` does.

    Source: seed 000 Q1.
    """
    bench = Bench(network, variables)
    for item in [item for item in bench.items if isinstance(item.layer, BatchNorm)]:
        reason = rules.sign_bias(bench, item)
        if reason is not None:
            item.note("left", reason)
    return bench.assemble("to_sign_bias")
