"""All alternatives to a call, family by family."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from parity.certification.causes.activations import activations
from parity.certification.causes.attention import attention, scores
from parity.certification.causes.cause import Alternatives, Change, Number
from parity.certification.causes.constants import constants, reductions, sums
from parity.certification.causes.norms import norms
from parity.certification.causes.orders import orders
from parity.certification.causes.recurrent import recurrences
from parity.certification.causes.resizing import resizings
from parity.certification.causes.tape import Call
from parity.certification.causes.windows import convolutions, poolings, transposed_convolutions

FAMILIES: tuple[Alternatives, ...] = (
    norms, activations, attention, convolutions, transposed_convolutions, poolings, resizings, orders, recurrences,
    scores, constants, sums, reductions,
)  # fmt: skip


def alternatives(call: Call, calls: Sequence[Call]) -> Iterator[Change | Number]:
    """Yield every other convention that a call could have."""
    for family in FAMILIES:
        yield from family(call, calls)
