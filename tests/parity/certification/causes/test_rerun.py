"""A run with changes changes what its plan says, once, and nothing afterwards."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the networks are PyTorch's")

from parity.certification.causes.rerun import Plan, rerun  # noqa: E402
from parity.certification.causes.tape import record  # noqa: E402

from .pairs import Network, drawn  # noqa: E402

X = drawn(3, 4)


def test_the_output_of_one_call_is_changed_and_not_of_the_next() -> None:
    def call(net: Any, x: Any) -> Any:
        return net.layer(x), net.layer(x)

    net = Network(call, layer=torch.nn.Identity())
    first, second = rerun(net, lambda: net(X), Plan({}, {}, {"layer": lambda y: y + 1}, frozenset()))
    assert torch.equal(first, X + 1)
    assert torch.equal(second, X)


@pytest.mark.parametrize("by_name", [True, False])
def test_a_call_that_works_in_place_is_changed_in_place(by_name: bool) -> None:
    def call(net: Any, x: Any) -> Any:
        y = x + 0
        if by_name:
            y.relu_()
        else:
            torch.nn.functional.relu(y, inplace=True)
        return y

    net = Network(call)
    recorded = record(net, lambda: net(X))
    (relu,) = [one for one in recorded.calls if one.name.startswith("relu")]
    edits = {relu.where: lambda function, args, kwargs: args[0] * 3}
    assert torch.equal(rerun(net, lambda: net(X), Plan(edits, {}, {}, frozenset())), X * 3)


def test_a_skipped_module_is_called_again_afterwards() -> None:
    net = Network(lambda net, x: net.layer(x), layer=torch.nn.ReLU())
    assert torch.equal(rerun(net, lambda: net(X), Plan({}, {}, {}, frozenset({"layer"}))), X)
    assert torch.equal(net(X), X.relu())
