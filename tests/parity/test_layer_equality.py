"""One layer of PyTorch after the other beside Flax's own, Linen and NNX: inferred, converted, equal, exported again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
import pytest
from flax import nnx

import parity
from parity import errors
from parity.rules.targets import target_leaves

from .tied_network import Tied, tied_module

torch = pytest.importorskip("torch", reason="the other side is PyTorch")

# Many small programs, each run a few times.
pytestmark = pytest.mark.usefixtures("quick_compilation")

RNG = np.random.default_rng(0)
WORDS = RNG.integers(0, 7, (3, 4)).astype(np.int32)
SEQUENCE = RNG.normal(size=(2, 6, 4)).astype(np.float32)
SIGNAL = RNG.normal(size=(2, 7, 4)).astype(np.float32)
IMAGE = RNG.normal(size=(2, 5, 6, 4)).astype(np.float32)
VOLUME = RNG.normal(size=(2, 3, 4, 5, 4)).astype(np.float32)


class Pair(NamedTuple):
    """`torch` and `flax` build the layers, the latter (apply, variables). Images lie differently on either side."""

    torch: Callable[[], Any]
    flax: Callable[[], tuple[Any, Any]]
    inputs: np.ndarray
    image: bool = False
    arguments: int = 1


def linen(build: Callable[[], Any], inputs: np.ndarray) -> Callable[[], tuple[Any, Any]]:
    class Network(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            return build()(x)

    return lambda: (Network().apply, jax.eval_shape(Network().init, jax.random.key(0), inputs))


def of_nnx(build: Callable[[nnx.Rngs], Any]) -> Callable[[], tuple[Any, Any]]:
    class Network(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.layer = build(rngs)

        def __call__(self, x: Any) -> Any:
            return self.layer(x)

    def made() -> tuple[Any, Any]:
        graph, state = nnx.split(nnx.eval_shape(lambda: Network(nnx.Rngs(0))))
        if len(target_leaves(state)) < len(jax.tree.leaves(state)):
            graph, state = nnx.split(Network(nnx.Rngs(0)))  # random streams are not converted, and have to be there
        return (lambda tree, x: nnx.merge(graph, tree)(x)), state

    return made


def pairs() -> dict[str, Pair]:
    norm = torch.nn.utils.parametrizations.weight_norm
    t: Any = torch.nn
    cases = {}

    def image(name: str, x: np.ndarray, theirs: Any, ours: Any, n: Any = None) -> None:
        cases[f"{name}, Linen"] = Pair(theirs, linen(ours, x), x, image=True)
        if n is not None:
            cases[f"{name}, NNX"] = Pair(theirs, of_nnx(n), x, image=True)

    def rows(name: str, x: np.ndarray, theirs: Any, ours: Any, n: Any = None, arguments: int = 1) -> None:
        if ours is not None:
            cases[f"{name}, Linen"] = Pair(theirs, linen(ours, x), x, arguments=arguments)
        if n is not None:
            cases[f"{name}, NNX"] = Pair(theirs, of_nnx(n), x, arguments=arguments)

    # A square table could be transposed and would still fit.
    rows("square embedding", WORDS % 4, lambda: t.Embedding(4, 4), lambda: nn.Embed(4, 4, name="layer"),
         lambda r: nnx.Embed(4, 4, rngs=r))  # fmt: skip
    rows("layer norm", SEQUENCE, lambda: t.LayerNorm(4), lambda: nn.LayerNorm(epsilon=1e-5, name="layer"),
         lambda r: nnx.LayerNorm(4, epsilon=1e-5, rngs=r))  # fmt: skip
    image("group norm", IMAGE, lambda: t.GroupNorm(2, 4), lambda: nn.GroupNorm(2, epsilon=1e-5, name="layer"),
          lambda r: nnx.GroupNorm(4, 2, epsilon=1e-5, rngs=r))  # fmt: skip
    rows("PReLU", SEQUENCE, t.PReLU, lambda: nn.PReLU(name="layer"), lambda r: nnx.PReLU())
    rows("plain RNN", SEQUENCE, lambda: t.RNN(4, 5, batch_first=True), lambda: nn.RNN(nn.SimpleCell(5, name="layer")),
         lambda r: nnx.RNN(nnx.SimpleCell(4, 5, rngs=r)))  # fmt: skip
    rows("LSTM", SEQUENCE, lambda: t.LSTM(4, 5, batch_first=True), lambda: nn.RNN(nn.LSTMCell(5, name="layer")),
         lambda r: nnx.RNN(nnx.LSTMCell(4, 5, rngs=r)))  # fmt: skip
    rows("stacked LSTM", SEQUENCE, lambda: t.LSTM(4, 4, batch_first=True), None,
         lambda r: nnx.RNN(nnx.OptimizedLSTMCell(4, 4, rngs=r)))  # fmt: skip
    rows("GRU", SEQUENCE, lambda: t.GRU(4, 5, batch_first=True), lambda: nn.RNN(nn.GRUCell(5, name="layer")))
    for bias in (True, False):
        rows(
            f"attention, bias={bias}",
            SEQUENCE,
            lambda bias=bias: t.MultiheadAttention(4, 2, bias=bias, batch_first=True),
            lambda bias=bias: nn.MultiHeadDotProductAttention(2, use_bias=bias, name="layer"),
            lambda r, bias=bias: nnx.MultiHeadAttention(2, 4, use_bias=bias, decode=False, rngs=r),
            arguments=3,
        )
    for ndim, x in ((1, SIGNAL), (3, VOLUME)):
        kernel = (3, 2, 2)[:ndim]
        image(
            f"grouped convolution {ndim}-D",
            x,
            lambda kernel=kernel, ndim=ndim: getattr(t, f"Conv{ndim}d")(4, 4, kernel, groups=2),
            lambda kernel=kernel: nn.Conv(4, kernel, padding="VALID", feature_group_count=2, name="layer"),
            lambda r, kernel=kernel: nnx.Conv(4, 4, kernel, padding="VALID", feature_group_count=2, rngs=r),
        )
    # With as many channels in as out, and stride 1, shapes and trace tell neither the kind nor the layout.
    for kept, stride in ((False, 1), (True, 1), (True, 2)):
        more = {"padding": "VALID", "transpose_kernel": kept}
        image(
            f"transposed convolution, kept={kept}, stride {stride}",
            IMAGE,
            lambda stride=stride: t.ConvTranspose2d(4, 4, 3, stride=stride),
            lambda stride=stride, more=more: nn.ConvTranspose(4, (3, 3), (stride,) * 2, name="layer", **more),
            lambda r, stride=stride, more=more: nnx.ConvTranspose(4, 4, (3, 3), (stride,) * 2, rngs=r, **more),
        )
    image("square convolution", IMAGE, lambda: t.Conv2d(4, 4, 3), lambda: nn.Conv(4, (3, 3), padding=0, name="layer"),
          lambda r: nnx.Conv(4, 4, (3, 3), padding="VALID", rngs=r))  # fmt: skip
    image("weight norm", IMAGE, lambda: norm(t.Conv2d(4, 6, 3)),
          lambda: nn.Conv(6, (3, 3), padding="VALID", name="layer"))  # fmt: skip
    image("weight norm along the second axis", IMAGE, lambda: norm(t.ConvTranspose2d(4, 6, 3, stride=2), dim=1),
          lambda: nn.ConvTranspose(6, (3, 3), (2, 2), padding="VALID", name="layer"))  # fmt: skip
    return cases


PAIRS = pairs()


def randomised(module: Any) -> Any:
    """Weights of either sign, biases and statistics that are not zero."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 0.5)
        for name, buffer in module.named_buffers():
            if buffer.dtype.is_floating_point:
                buffer.uniform_(0.5, 2) if name.endswith("var") else buffer.normal_()
    return module.eval()


@pytest.mark.parametrize("case", PAIRS)
def test_a_layer_of_either_side_computes_the_same(case: str) -> None:
    pair = PAIRS[case]
    layer = randomised(pair.torch())
    apply, variables = pair.flax()
    state = torch.nn.ModuleDict({"layer": layer}).state_dict()
    table = parity.infer_rules(state, variables, apply=apply, inputs=pair.inputs)
    converted = parity.convert(state, variables, table)
    y = np.asarray(jax.jit(apply)(converted, pair.inputs))
    x = torch.from_numpy(np.moveaxis(pair.inputs, -1, 1) if pair.image else pair.inputs)
    with torch.no_grad():
        want = layer(*[x] * pair.arguments)
    want = (want[0] if isinstance(want, tuple) else want).numpy()
    # Sums of at most a hundred products of numbers around 1, in float32 on both sides.
    np.testing.assert_allclose(y, np.moveaxis(want, 1, -1) if pair.image else want, rtol=1e-5, atol=5e-6)
    back = parity.export(converted, table)
    assert back.keys() == state.keys() - table.ignored.keys()
    # Of pairs and sums only what they stand for comes back.
    joined = {key for rule in table.rules if rule.combine for key in rule.sources}
    assert all(array.tobytes() == state[key].numpy().tobytes() for key, array in back.items() if key not in joined)
    again, first = (target_leaves(tree) for tree in (parity.convert({**state, **back}, variables, table), converted))
    for path, leaf in first.items():
        np.testing.assert_array_max_ulp(np.asarray(again[path]), np.asarray(leaf), 1)


def test_a_gru_without_the_bias_within_its_reset_is_refused() -> None:
    # NNX's keeps the gates stacked and has no bias on the hidden side, which PyTorch's needs.
    apply, variables = of_nnx(lambda r: nnx.RNN(nnx.GRUCell(4, 5, rngs=r)))()
    state = torch.nn.ModuleDict({"layer": torch.nn.GRU(4, 5, batch_first=True)}).state_dict()
    with pytest.raises(errors.UnmatchedArraysError, match=r"source layer\.l0 \{weight_ih \(15, 4\)"):
        parity.infer_rules(state, variables, apply=apply, inputs=SEQUENCE)


class Deep(nn.Module):
    """Two layers, either way."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        for _ in range(2):
            x = nn.Bidirectional(nn.RNN(nn.LSTMCell(4)), nn.RNN(nn.LSTMCell(4)))(x)
        return x


def test_layers_and_directions_of_an_lstm_go_by_the_order_of_computation() -> None:
    layer = randomised(torch.nn.LSTM(4, 4, num_layers=2, bidirectional=True, batch_first=True))
    variables = jax.eval_shape(Deep().init, jax.random.key(0), SEQUENCE)
    table = parity.infer_rules(layer.state_dict(), variables, apply=Deep().apply, inputs=SEQUENCE)
    y = np.asarray(jax.jit(Deep().apply)(parity.convert(layer.state_dict(), variables, table), SEQUENCE))
    with torch.no_grad():
        want = layer(torch.from_numpy(SEQUENCE))[0].numpy()
    np.testing.assert_allclose(y, want, rtol=1e-5, atol=5e-6)


class Forward(nn.Module):
    """Two layers that both read the sequence as it comes."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        return nn.RNN(nn.LSTMCell(4))(x) + nn.RNN(nn.LSTMCell(4))(x)


def test_the_directions_of_an_lstm_are_those_that_the_trace_shows() -> None:
    layer = torch.nn.LSTM(4, 4, bidirectional=True, batch_first=True)
    variables = jax.eval_shape(Forward().init, jax.random.key(0), SEQUENCE)
    with pytest.raises(errors.AmbiguousRulesError, match="LSTMCell_1 may be filled by l0, l0_reverse"):
        parity.infer_rules(layer.state_dict(), variables, apply=Forward().apply, inputs=SEQUENCE)


def test_tied_weights_compute_the_same() -> None:
    module = randomised(tied_module())
    variables = jax.eval_shape(Tied().init, jax.random.key(0), WORDS)
    table = parity.infer_rules(module.state_dict(), variables, apply=Tied().apply, inputs=WORDS)
    assert table.tied == {"head.weight": "embed.weight"}
    y = np.asarray(Tied().apply(parity.convert(module.state_dict(), variables, table), WORDS))
    with torch.no_grad():
        np.testing.assert_allclose(y, module(torch.from_numpy(WORDS)).numpy(), rtol=1e-5, atol=5e-6)


def test_a_weight_norm_is_certified_as_it_is() -> None:
    torch.manual_seed(0)
    layer = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(4, 3))
    network = nn.Dense(3, name="layer")
    x = SEQUENCE[:, 0]
    variables = jax.eval_shape(network.init, jax.random.key(0), x)
    table = parity.infer_rules(layer.state_dict(), variables)
    converted = parity.convert(layer.state_dict(), variables, table)
    assert parity.certify(layer, network.apply, converted, x, rules=table)["passed"]
    other = jax.tree.map(lambda leaf: leaf * np.float32(1.0001), converted)
    with pytest.raises(errors.CertificationError, match="first in output: in float64"):
        parity.certify(layer, network.apply, other, x, rules=table)
