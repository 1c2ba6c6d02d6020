"""A mistake is said to be in a layer or between two, by PyTorch's names, in the formula or in the arithmetic alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

import parity
from parity import errors
from parity.certification.certificate import blamed
from parity.certification.report import describe

from .pairs import certify, converted, normal

torch = pytest.importorskip("torch", reason="a certificate runs the PyTorch network")

# Many small programs, each run a few times.
pytestmark = pytest.mark.usefixtures("quick_compilation")


class Block(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = (torch.nn.Conv2d(4, 4, 3, padding=1) for _ in range(2))
        self.act = torch.nn.GELU()

    def forward(self, x: Any) -> Any:
        return x + self.conv2(self.act(self.conv1(x)))


class Module(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
    """A stem, a residual block, pixels shuffled and pooled, and two dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block = torch.nn.Conv2d(2, 4, 3, padding=1), Block()
        self.shuffle, self.pool = torch.nn.PixelShuffle(2), torch.nn.AvgPool2d(2, 2)
        self.flatten, self.fc1 = torch.nn.Flatten(), torch.nn.Linear(36, 6)
        self.drop, self.fc2 = torch.nn.Sequential(torch.nn.Dropout(0.2), torch.nn.Sigmoid()), torch.nn.Linear(6, 3)

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.stem(x))
        x = self.pool(self.shuffle(self.block(x)))
        return self.fc2(self.drop(self.fc1(self.flatten(x)))) * 0.5


class FlaxBlock(nn.Module):
    gelu: Callable[[Any], Any]
    shortcut: float

    @nn.compact
    def __call__(self, x: Any) -> Any:
        h = self.gelu(nn.Conv(4, (3, 3), name="conv1")(x))
        return self.shortcut * x + nn.Conv(4, (3, 3), name="conv2")(h)


class Twin(nn.Module):
    """The same in Flax; every field is where a port may go wrong."""

    inputs: float = 1.0
    relu: Callable[[Any], Any] = nn.relu
    gelu: Callable[[Any], Any] = lambda x: nn.gelu(x, approximate=False)
    shortcut: float = 1.0
    order: tuple[int, ...] = (0, 1, 3, 2, 4, 5)
    divisor: float = 4.0
    channels_last: bool = True
    sigmoid: Callable[[Any], Any] = nn.sigmoid
    scale: float = 0.5

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = self.relu(nn.Conv(4, (3, 3), name="stem")(x * self.inputs))
        x = FlaxBlock(self.gelu, self.shortcut, name="block")(x)
        n, h, w, _ = x.shape
        # (n, h, w, c, i, j) → (n, h, i, w, j, c)
        x = x.reshape(n, h, w, 1, 2, 2).transpose(0, 1, 4, 2, 5, 3).transpose(self.order)
        x = x.transpose(0, 1, 3, 2, 4, 5).reshape(n, 2 * h, 2 * w, 1)
        x = x.reshape(n, h, 2, w, 2, 1).sum((2, 4)) / self.divisor
        x = (x if self.channels_last else x.swapaxes(1, 2)).reshape(n, -1)
        x = nn.Dense(6, name="fc1")(x)
        return nn.Dense(3, name="fc2")(self.sigmoid(x)) * self.scale


X = normal(64, 6, 6, 2)
LAYOUTS = {"params/fc1/kernel": "linear"}
"""The trace does not tell that the flattened images have a single channel."""


@pytest.fixture(scope="module")
def module() -> Any:
    torch.manual_seed(0)
    return Module()


@pytest.fixture(scope="module")
def variables(module: Any) -> Any:
    return converted(module, Twin(), X, layouts=LAYOUTS)


def certified(module: Any, twin: Twin, tree: Any) -> Any:
    rules = parity.infer_rules(module.state_dict(), tree, apply=twin.apply, inputs=X, layouts=LAYOUTS)
    return parity.certify(module, twin.apply, tree, X, rules=rules)


def test_the_right_port_passes_and_says_what_layers_read(module: Any, variables: Any) -> None:
    certificate = certified(module, Twin(), variables)
    assert certificate["blame"] is None
    assert [entry["layer"] for entry in certificate["layer_inputs"]] == [
        "stem", "block/conv1", "block/conv2", "fc1", "fc2"
    ]  # fmt: skip
    assert certificate["left_out"] == ["block.act", "shuffle", "pool", "flatten", "drop.0", "drop.1"]
    assert "64 numbers" not in describe(certificate)
    assert "192 numbers of the output compared" in describe(certificate)


PLACES: dict[str, tuple[Twin, str, str]] = {
    "the inputs' scale": (Twin(inputs=1.5), "between the inputs and stem", "no module"),
    "another activation, a function": (Twin(relu=nn.leaky_relu), "between stem and block.conv1", "no module"),
    "another activation, a module": (
        Twin(gelu=lambda x: nn.gelu(x, approximate=True)), "between block.conv1 and block.conv2", "block.act (GELU)"
    ),
    "no shortcut": (Twin(shortcut=0.0), "between block.conv2 and the end of block", "no module"),
    "pixels shuffled otherwise": (
        Twin(order=(0, 1, 4, 3, 2, 5)), "between block and fc1", "shuffle (PixelShuffle), pool (AvgPool2d), flatten"
    ),
    "another divisor": (Twin(divisor=9.0), "between block and fc1", "pool (AvgPool2d)"),
    "flattened otherwise": (Twin(channels_last=False), "between block and fc1", "flatten (Flatten)"),
    "another last activation": (Twin(sigmoid=jnp.tanh), "between fc1 and fc2", "drop.0 (Dropout), drop.1 (Sigmoid)."),
    "another last scale": (Twin(scale=0.6), "between fc2 and the output", "no module"),
}  # fmt: skip


@pytest.mark.usefixtures("no_search")
@pytest.mark.parametrize("case", PLACES)
def test_what_is_wrong_between_two_layers_is_said_to_be_there(module: Any, variables: Any, case: str) -> None:
    twin, place, words = PLACES[case]
    with pytest.raises(errors.CertificationError) as caught:
        certified(module, twin, variables)
    message = str(caught.value)
    assert f"What is wrong is {place}, where PyTorch has " in message
    assert words in message
    assert "The float64 runs differ there too" in message
    blame: Any = caught.value.certificate["blame"]
    assert (blame["place"], blame["layer"], blame["formula"], blame["float32"]) == (place, None, True, False)
    assert f"between {blame['between'][0]} and {blame['between'][1]}" == place
    assert blamed(blame) in describe(caught.value.certificate)


def test_what_is_wrong_in_a_layer_is_said_to_be_in_it(module: Any, variables: Any) -> None:
    def spoilt(path: tuple[str, ...]) -> Any:
        tree = jax.tree.map(jnp.array, variables)
        node = tree["params"]
        for name in path:
            node = node[name]
        node["bias"] += 0.01
        return tree

    # Wrong weights are cause enough: none is looked for.
    for path, place in ((("fc1",), "in fc1 (Linear)"), (("block", "conv2"), "in block.conv2 (Conv2d)")):
        with pytest.raises(errors.CertificationError, match="not what the rules make") as caught:
            certified(module, Twin(), spoilt(path))
        blame: Any = caught.value.certificate["blame"]
        assert (blame["place"], blame["layer"], blame["between"]) == (place, ".".join(path), None)
        assert blame["cause"] is None


def test_the_likely_cause_is_in_the_message_and_in_the_certificate(module: Any, variables: Any) -> None:
    twin = Twin(gelu=lambda x: nn.gelu(x, approximate=True))
    with pytest.raises(errors.CertificationError, match="Likely cause: ") as caught:
        certified(module, twin, variables)
    blame: Any = caught.value.certificate["blame"]
    assert f"Likely cause: {blame['cause']}." in str(caught.value)
    assert blame["convention"] == "gelu"


def poorer(x: Any) -> Any:
    """What rounds to 11 bits in float32, and not at all in float64."""
    return jax.lax.reduce_precision(x, 8, 11) if x.dtype == jnp.float32 else x


def test_poor_arithmetic_is_told_from_a_wrong_formula(module: Any, variables: Any) -> None:
    twin = Twin(gelu=lambda x: poorer(nn.gelu(x, approximate=False)))
    with pytest.raises(errors.CertificationError, match="first in block/conv2") as caught:
        certified(module, twin, variables)
    assert "between block.conv1 and block.conv2, where PyTorch has block.act (GELU)." in str(caught.value)
    assert "The float64 runs agree: the formula is right, the arithmetic is poorer." in str(caught.value)
    blame: Any = caught.value.certificate["blame"]
    assert not blame["formula"]
    # What is poor and does no harm to the layers after it does not fail.
    assert all(entry["passed"] for entry in caught.value.certificate["layer_inputs"])


@pytest.mark.usefixtures("no_search")
def test_a_cast_to_float32_is_told_from_another_formula(module: Any, variables: Any) -> None:
    twin = Twin(relu=lambda x: nn.relu(x.astype(jnp.float32)).astype(x.dtype))
    with pytest.raises(errors.CertificationError, match="differ there as float32 rounds") as caught:
        certified(module, twin, variables)
    blame: Any = caught.value.certificate["blame"]
    assert (blame["place"], blame["float32"]) == ("between stem and block.conv1", True)


def test_pytorchs_own_casts_do_not_spoil_the_truth() -> None:
    def norm(h: Any) -> Any:
        wide = h.float()
        table = torch.tensor([0.1, 0.2, 0.3, 0.4])
        return (torch.softmax(wide, -1, dtype=torch.float32) / wide.to(torch.float32).norm() * table).to(h.dtype)

    def flax_norm(h: Any) -> Any:
        return jax.nn.softmax(h) / jnp.linalg.norm(h) * jnp.asarray([0.1, 0.2, 0.3, 0.4], h.dtype)

    before = torch.get_default_dtype()
    assert certify(norm, flax_norm)["passed"]
    assert torch.get_default_dtype() == before


@pytest.mark.usefixtures("no_search")
def test_an_input_that_departs_fails_though_the_output_does_not_tell() -> None:
    class Deaf(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = torch.nn.Linear(4, 4), torch.nn.Linear(4, 2)

        def forward(self, x: Any) -> Any:
            return self.b(torch.relu(self.a(x)))

    class FlaxDeaf(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            return nn.Dense(2, name="b")(nn.leaky_relu(nn.Dense(4, name="a")(x)))

    torch.manual_seed(0)
    module = Deaf()
    torch.nn.init.zeros_(module.b.weight)
    with pytest.raises(
        errors.CertificationError, match=r"in 1 of 2 inputs of layers, first in b: in float64"
    ) as caught:
        parity.certify(
            module, FlaxDeaf().apply, converted(module, FlaxDeaf(), X[:, 0, :2].reshape(64, 4)), normal(64, 4)
        )
    assert "between a and b" in str(caught.value)
    assert "input of b" in describe(caught.value.certificate)


def test_values_that_are_not_finite_are_neither_the_formula_nor_the_arithmetic() -> None:
    with pytest.raises(errors.CertificationError, match="There are values that are NaN or infinite there") as caught:
        certify(lambda h: h / 0, lambda h: h / 0)
    blame: Any = caught.value.certificate["blame"]
    assert (blame["place"], blame["formula"], blame["finite"]) == ("between dense and the output", False, False)
