"""The search names the convention of every pair, nothing where no convention explains it, and leaves no traces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the search runs the PyTorch network")

from parity.certification.causes import likely_cause  # noqa: E402
from parity.certification.causes.rerun import Plan, rerun  # noqa: E402
from parity.certification.causes.search import RUNS  # noqa: E402
from parity.certification.causes.tape import record  # noqa: E402

from .layer_pairs import LAYER_PAIRS  # noqa: E402
from .pairs import PAIRS, Beside, Network, beside, drawn, on_images  # noqa: E402

F = torch.nn.functional
ALL = {**PAIRS, **LAYER_PAIRS}


def made(name: str) -> tuple[str, Beside]:
    convention, (right, wrong, x) = ALL[name]
    torch.manual_seed(0)
    return convention, beside(right(), wrong(), x)


@pytest.mark.parametrize("name", ALL)
def test_the_convention_is_named(name: str) -> None:
    convention, pair = made(name)
    cause = likely_cause(*pair)
    assert cause is not None
    assert cause.convention == convention, cause.text
    assert cause.text.startswith(("JAX ", "either JAX "))
    assert cause.text.endswith("the float64 runs agree everywhere")


def norms(*, first: float = 1e-5, second: float = 1e-5, act: Callable[[Any], Any] = F.gelu) -> Any:
    def call(net: Any, x: Any) -> Any:
        return net.out(act(net.norm2(net.middle(act(net.norm1(net.dense(x)))))))

    def dense() -> Any:
        return torch.nn.Linear(8, 8)

    parts = {"norm1": torch.nn.LayerNorm(8, first), "norm2": torch.nn.LayerNorm(8, second)}
    return Network(call, dense=dense(), middle=dense(), out=dense(), **parts)


def told(right: Any, wrong: Any, x: Any = None, **limits: Any) -> tuple[str, str] | None:
    cause = likely_cause(*beside(right, wrong, drawn(3, 5, 8) if x is None else x), **limits)
    return None if cause is None else (cause.convention, cause.text)


def test_a_number_is_solved_for_and_a_repeated_mistake_is_one() -> None:
    found = told(norms(), norms(first=7.7e-4, second=7.7e-4))
    assert found == (
        "eps",
        "JAX takes eps 0.00077 in layer_norm where PyTorch has 1e-05 (in norm1, norm2): with that in PyTorch too, the "
        "float64 runs agree everywhere",
    )


def test_a_mistake_in_the_second_place_alone_is_not_told_of_the_first() -> None:
    found = told(norms(), norms(second=1e-3))
    assert found is not None
    assert found[0] == "eps"
    assert "(in norm2)" in found[1]


def test_two_mistakes_are_both_named() -> None:
    found = told(norms(), norms(first=1e-3, act=lambda x: F.gelu(x, approximate="tanh")))
    assert found is not None
    assert found[0] == "eps and gelu"


def test_what_follows_for_another_reason_is_said() -> None:
    found = told(norms(), norms(first=1e-3, act=lambda x: torch.sin(3 * x)))
    assert found is not None
    assert found[0] == "eps"
    assert found[1].endswith("agree up to the input of middle")


def no_convention(x: Any) -> Any:
    return torch.sin(3 * x)


UNKNOWN: dict[str, Callable[[Any], Any]] = {
    "sin": no_convention,
    "two activations": lambda x: torch.where(x > 0.3, F.gelu(x, approximate="tanh"), F.silu(x)),
    "noise": lambda x: F.gelu(x) + 1e-6 * torch.randn(x.shape, generator=torch.Generator().manual_seed(3)),
    "rolled": lambda x: F.gelu(x).roll(1, 1),
    "reversed": lambda x: F.gelu(x).flip(-1),
    "one wrong feature": lambda x: F.gelu(x) * torch.tensor([1.0] * 7 + [1.01]),
    "cubed": lambda x: F.gelu(x) ** 3,
    "clipped": lambda x: F.gelu(x).clamp(-0.1, 0.7),
    "another slope of GELU": lambda x: x * torch.sigmoid(1.5 * x),
    "of the neighbour": lambda x: F.gelu(x) + 0.1 * F.gelu(x).roll(1, 0),
    "softmax and GELU": lambda x: F.gelu(x) * x.softmax(-1),
    "rounded": lambda x: (F.gelu(x) * 64).round() / 64,
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_nothing_is_named_where_no_convention_explains_it(name: str) -> None:
    assert told(norms(), norms(act=UNKNOWN[name])) is None


def test_a_factor_that_explains_only_the_first_of_two_mistakes_is_not_named() -> None:
    def call(net: Any, x: Any) -> Any:
        y = 2 * F.gelu(net.norm1(net.dense(x)))
        return net.out(no_convention(net.norm2(net.middle(y))))

    right, wrong = norms(), norms()
    wrong.call = call
    assert told(right, wrong) is None


def rows_first(x: Any) -> Any:
    """A pixel shuffle whose channels are in the order row, column, channel, as TensorFlow has them."""
    return F.pixel_shuffle(x.unflatten(1, (2, 2, 2)).permute(0, 3, 1, 2, 4, 5).flatten(1, 3), 2)


def test_orders_and_scales_are_told_as_they_are() -> None:
    right, wrong, x = on_images(lambda x: F.pixel_shuffle(x, 2), rows_first)
    found = told(right(), wrong(), x)
    assert found is not None
    assert "has the channels of pixel_shuffle in the order row, column, channel," in found[1]
    _, (right, wrong, x) = ALL["multi-head attention, scale"]
    found = told(right(), wrong(), x)
    assert found is not None
    assert "scales the scores by 1 " in found[1]


def test_networks_that_agree_have_no_cause() -> None:
    assert told(norms(), norms()) is None


def test_conventions_that_are_the_same_function_here_are_all_named() -> None:
    right, wrong, x = on_images(lambda x: F.interpolate(x, (4, 4), mode="bilinear"), lambda x: x[:, :, ::2, ::2])
    found = told(right(), wrong(), x)
    assert found is not None
    assert set(found[0].split(" or ")) == {"half_pixel", "resize_method"}
    assert found[1].startswith("either JAX ")


def test_a_search_that_is_cut_short_says_so() -> None:
    found = told(norms(), norms(act=no_convention), runs=5)
    assert found == (
        "unknown",
        "none of the conventions tried so far explains it; the search was cut short after 5 runs",
    )
    late = told(norms(), norms(act=no_convention), seconds=0.0)
    assert late is not None
    assert "after 0 runs" in late[1]


def test_the_search_is_bounded_and_leaves_the_module_as_it_was() -> None:
    _, pair = made("order of norm and activation")
    runs = [0]

    def counted() -> Any:
        runs[0] += 1
        if runs[0] % 3 == 0:
            raise RuntimeError("a change that does not fit")
        return pair.run()

    before = {name: value.clone() for name, value in pair.module.state_dict().items()}
    likely_cause(pair.module, counted, pair.departs, pair.difference)
    assert 2 < runs[0] <= RUNS + 1
    assert all(torch.equal(value, before[name]) for name, value in pair.module.state_dict().items())
    for part in pair.module.modules():
        assert not part._forward_hooks
        assert not part._forward_pre_hooks
        assert "_call_impl" not in vars(part)


def test_a_run_without_changes_is_the_run_itself() -> None:
    _, pair = made("attention written out, q and k")
    recorded = record(pair.module, pair.run)
    again = rerun(pair.module, pair.run, Plan({}, {}, {}, frozenset()))
    assert [call.name for call in recorded.calls][:3] == ["linear", "chunk", "transpose"]
    for place, value in recorded.result.items():
        np.testing.assert_array_equal(value, again[place])


class Block(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
    """Two residual branches; as pre-norm or as post-norm."""

    def __init__(self, *, pre: bool) -> None:
        super().__init__()
        self.pre = pre
        self.norm1, self.norm2 = torch.nn.LayerNorm(8), torch.nn.LayerNorm(8)
        self.one, self.two = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)

    def forward(self, x: Any) -> Any:
        if self.pre:
            x = x + self.one(self.norm1(x))
            return x + self.two(self.norm2(x))
        x = self.norm1(x + self.one(x))
        return self.norm2(x + self.two(x))


@pytest.mark.parametrize("pre", [True, False])
def test_pre_norm_and_post_norm(pre: bool) -> None:
    torch.manual_seed(0)
    found = told(Block(pre=pre), Block(pre=not pre))
    assert found is not None
    assert found[0] == "pre_post_norm"
    assert "(in norm1, norm2)" in found[1]
