"""Attentions and norms in every form that PyTorch keeps them in: they compute the same in Flax, and come back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import parity
from parity import errors
from parity.rules.table import parse_rules

torch = pytest.importorskip("torch", reason="the other side is PyTorch")

# Many small programs, each run a few times.
pytestmark = [
    pytest.mark.usefixtures("quick_compilation"),
    # The older forms of norms are what files have.
    pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning"),
]

RNG = np.random.default_rng(0)
SEQUENCE = RNG.normal(size=(2, 5, 8)).astype(np.float32)
ROWS = RNG.normal(size=(4, 6)).astype(np.float32)
IMAGE = RNG.normal(size=(2, 5, 6, 4)).astype(np.float32)


def randomised(module: Any) -> Any:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 0.5)
    return module.eval()


def compared(module: Any, network: Any, x: np.ndarray, *, image: bool = False) -> parity.RuleTable:
    """Compare the outputs of both, and those of the module after the weights came back; return the table."""
    variables, state = jax.eval_shape(network.init, jax.random.key(0), x), module.state_dict()
    table = parity.infer_rules(state, variables, apply=network.apply, inputs=x)
    converted = parity.convert(state, variables, table)
    y = np.asarray(network.apply(converted, jnp.asarray(x)))
    back = parity.export(converted, table)
    assert back.keys() == state.keys()
    for loaded in (state, {name: torch.from_numpy(array) for name, array in back.items()}):
        module.load_state_dict(loaded, strict=True)
        with torch.no_grad():
            want = module(torch.from_numpy(np.moveaxis(x, -1, 1) if image else x)).numpy()
        want = np.moveaxis(want, 1, -1) if image else want
        assert y.shape == want.shape
        assert y.size >= 12
        np.testing.assert_allclose(y, want, rtol=2e-5, atol=2e-6 * np.abs(want).max())
    return table


class Attention(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        for _ in range(2):
            x = x + nn.MultiHeadDotProductAttention(2)(x)
        return x


def attending(q: Any, k: Any, v: Any) -> Any:
    q, k, v = (a.unflatten(-1, (2, 4)).transpose(1, 2) for a in (q, k, v))
    return torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class Separate(torch.nn.Module):  # type: ignore[misc, name-defined]
    """Four layers, defined in another order than computed."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.names = names
        for name in sorted(names):
            setattr(self, name, torch.nn.Linear(8, 8))

    def forward(self, x: Any) -> Any:
        q, k, v, out = (getattr(self, name) for name in self.names)
        return out(attending(q(x), k(x), v(x)))


class Fused(torch.nn.Module):  # type: ignore[misc, name-defined]
    """One product for the three of them."""

    def __init__(self, name: str, out: str) -> None:
        super().__init__()
        self.names = name, out
        setattr(self, out, torch.nn.Linear(8, 8))
        setattr(self, name, torch.nn.Linear(8, 24))

    def forward(self, x: Any) -> Any:
        fused, out = (getattr(self, name) for name in self.names)
        return out(attending(*fused(x).chunk(3, -1)))


class Own(torch.nn.Module):  # type: ignore[misc, name-defined]
    """PyTorch's."""

    def __init__(self, **sizes: int) -> None:
        super().__init__()
        self.attention = torch.nn.MultiheadAttention(8, 2, batch_first=True, **sizes)

    def forward(self, x: Any, y: Any = None) -> Any:
        y = x if y is None else y
        return self.attention(x, y, y, need_weights=False)[0]


class Residual(torch.nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self, make: Callable[[], Any]) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList([make() for _ in range(2)])

    def forward(self, x: Any) -> Any:
        for block in self.blocks:
            x = x + block(x)
        return x


ATTENTIONS: dict[str, Callable[[], Any]] = {
    "q, k, v, out": lambda: Separate("q", "k", "v", "out"),
    "query, key, value, proj": lambda: Separate("query", "key", "value", "proj"),
    "q_proj, …, o_proj": lambda: Separate("q_proj", "k_proj", "v_proj", "o_proj"),
    "qkv, proj": lambda: Fused("qkv", "proj"),
    "c_attn, c_proj": lambda: Fused("c_attn", "c_proj"),
    "in_proj_weight": Own,
}


@pytest.mark.parametrize("case", ATTENTIONS)
def test_attentions_are_split_into_heads_and_come_back(case: str) -> None:
    table = compared(randomised(Residual(ATTENTIONS[case])), Attention(), SEQUENCE)
    assert len(table.rules) == 2 * 8
    assert table.prefix == "blocks."
    assert {rule.part[1] for rule in table.rules} == ({1, 3} if case in list(ATTENTIONS)[3:] else {1})


def test_keys_and_values_of_another_width() -> None:
    module = randomised(Own(kdim=6, vdim=6))
    network = nn.MultiHeadDotProductAttention(2)
    other = RNG.normal(size=(2, 7, 6)).astype(np.float32)
    variables = jax.eval_shape(network.init, jax.random.key(0), SEQUENCE, other)

    def apply(tree: Any, inputs: Any) -> Any:
        return network.apply(tree, *inputs)

    state = module.state_dict()
    table = parity.infer_rules(state, variables, apply=apply, inputs=(SEQUENCE, other))
    converted = parity.convert(state, variables, table)
    with torch.no_grad():
        want = module(torch.from_numpy(SEQUENCE), torch.from_numpy(other)).numpy()
    np.testing.assert_allclose(apply(converted, (SEQUENCE, other)), want, rtol=2e-5, atol=2e-6)
    back = parity.export(converted, table)
    assert {name: array.tobytes() for name, array in back.items()} == {
        name: tensor.numpy().tobytes() for name, tensor in state.items()
    }


@pytest.mark.parametrize(
    ("module", "error"),
    [
        # Head by head in some networks, one after the other in others: the name does not say.
        (lambda: Fused("query_key_value", "dense"), errors.UnmatchedArraysError),
        (lambda: Fused("qkv", "mix"), errors.UnmatchedArraysError),
        (lambda: Separate("a", "b", "c", "d"), errors.AmbiguousRulesError),
    ],
)
def test_an_attention_whose_names_do_not_tell_is_refused(module: Any, error: type[Exception]) -> None:
    variables = jax.eval_shape(Attention().init, jax.random.key(0), SEQUENCE)
    with pytest.raises(error):
        parity.infer_rules(Residual(module).state_dict(), variables, apply=Attention().apply, inputs=SEQUENCE)


def reparametrised() -> dict[str, Callable[[Any], Any]]:
    old, new = torch.nn.utils, torch.nn.utils.parametrizations
    return {
        "weight norm, old": old.weight_norm,
        "weight norm": new.weight_norm,
        "spectral norm, old": old.spectral_norm,
        "spectral norm": new.spectral_norm,
    }


NORMS = reparametrised()


class Layers(nn.Module):
    """Convolutions of all kinds; the transposed one is square, so that either axis could be that of its outputs."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = jnp.tanh(nn.Conv(6, (3, 3), padding="VALID", name="conv")(x))
        return nn.ConvTranspose(6, (3, 3), (2, 2), padding="VALID", name="up")(x)


class Wrapped(nn.Module):
    """The same by Flax's own weight norm, which scales the outputs unless told otherwise."""

    axis: int = -2

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = jnp.tanh(nn.WeightNorm(nn.Conv(6, (3, 3), padding="VALID", name="conv"))(x))
        up = nn.ConvTranspose(6, (3, 3), (2, 2), padding="VALID", name="up")
        return nn.WeightNorm(up, feature_axes=self.axis)(x)


def convolutions(norm: Callable[[Any], Any]) -> Any:
    torch.manual_seed(0)
    layers = {
        "conv": norm(torch.nn.Conv2d(4, 6, 3)),
        "act": torch.nn.Tanh(),
        "up": norm(torch.nn.ConvTranspose2d(6, 6, 3, stride=2)),
    }
    module = torch.nn.Sequential()
    for name, layer in layers.items():
        module.add_module(name, layer)
    return module.eval()


@pytest.mark.parametrize("case", NORMS)
def test_norms_of_weights_become_plain_kernels_and_come_back(case: str) -> None:
    table = compared(convolutions(NORMS[case]), Layers(), IMAGE, image=True)
    combined = {rule.target for rule in table.rules if rule.combine == case.split(",")[0].replace(" ", "_")}
    assert combined == {"params/conv/kernel", "params/up/kernel"}
    torch.manual_seed(0)
    module = torch.nn.Sequential(*[NORMS[case](torch.nn.Linear(6, 6)) for _ in range(2)]).eval()
    table = compared(module, nn.Sequential([nn.Dense(6), nn.Dense(6)]), ROWS)
    assert len([rule for rule in table.rules if rule.combine]) == 2


@pytest.mark.parametrize("case", list(NORMS)[:2])
def test_a_weight_norm_may_stay_one(case: str) -> None:
    table = compared(convolutions(NORMS[case]), Wrapped(), IMAGE, image=True)
    assert not any(rule.combine for rule in table.rules)
    found = {rule.target: rule.layout for rule in table.rules}
    assert found["params/WeightNorm_1/up/kernel/scale"] == "trailing_ones"
    assert found["params/up/kernel"] == "transposed_convolution"
    # Of a square layer both axes have the length of the scale; the trace tells along which it goes.
    network = Wrapped(axis=-1)
    variables = jax.eval_shape(network.init, jax.random.key(0), IMAGE)
    with pytest.raises(errors.UnmatchedArraysError, match=r"target up \{g \(6,\)"):
        parity.infer_rules(convolutions(NORMS[case]).state_dict(), variables, apply=network.apply, inputs=IMAGE)


def test_a_spectral_norm_is_certified_as_it_is() -> None:
    module = convolutions(NORMS["spectral norm"])
    variables = jax.eval_shape(Layers().init, jax.random.key(0), IMAGE)
    table = parity.infer_rules(module.state_dict(), variables, apply=Layers().apply, inputs=IMAGE)
    converted = parity.convert(module.state_dict(), variables, table)
    read = parse_rules(table.text)
    assert read == table
    certificate = parity.certify(module, Layers().apply, converted, IMAGE, rules=read)
    assert certificate["passed"]
    assert len(certificate["layers"]) == 3
    spoilt = jax.tree.map(jnp.array, converted)
    spoilt["params"]["up"]["kernel"] *= 1.001
    with pytest.raises(errors.CertificationError, match="first in up"):
        parity.certify(module, Layers().apply, spoilt, IMAGE, rules=table)


@pytest.mark.parametrize("case", ["weight norm", "spectral norm"])
def test_there_is_no_norm_of_zeros(case: str) -> None:
    layer = NORMS[case](torch.nn.Linear(6, 3))
    variables = jax.eval_shape(nn.Dense(3).init, jax.random.key(0), ROWS)
    table = parity.infer_rules(layer.state_dict(), variables)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), variables)
    with pytest.raises(errors.NonFiniteWeightsError, match=r"params/kernel .* zero"):
        parity.export(zeros, table)


def test_gamma_and_beta_are_a_norms() -> None:
    arrays = {name: RNG.normal(size=6).astype(np.float32) for name in ("gamma", "beta", "scale")}
    state = {"norm.gamma": arrays["gamma"], "norm.beta": arrays["beta"], "layer.gamma": arrays["scale"]}
    tree = {"params": {"norm": {"scale": VECTOR, "bias": VECTOR}, "layer": {"gamma": VECTOR}}}
    table = parity.infer_rules(state, tree)
    converted = parity.convert(state, tree, table)
    assert {rule.target: rule.sources for rule in table.rules} == {
        "params/norm/scale": ("norm.gamma",),
        "params/norm/bias": ("norm.beta",),
        "params/layer/gamma": ("layer.gamma",),
    }
    np.testing.assert_array_equal(converted["params"]["norm"]["scale"], arrays["gamma"])
    assert {k: a.tobytes() for k, a in parity.export(converted, table).items()} == {
        k: a.tobytes() for k, a in state.items()
    }
    own = {"params": {"norm": {"gamma": VECTOR, "beta": VECTOR}, "layer": {"gamma": VECTOR}}}
    plain = {"norm.weight": arrays["gamma"], "norm.bias": arrays["beta"], "layer.gamma": arrays["scale"]}
    found = {rule.target: rule.sources[0] for rule in parity.infer_rules(plain, own).rules}
    assert found["params/norm/beta"] == "norm.bias"


VECTOR = jax.ShapeDtypeStruct((6,), jnp.float32)
