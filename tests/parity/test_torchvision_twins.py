"""torchvision's architectures with random weights: inferred with no rule by hand, converted, certified, folded."""

from __future__ import annotations

import copy
import importlib.util
from typing import Any

import jax
import numpy as np
import pytest

import mathdnn_jax
import parity
from mathdnn_jax.data.torchvision_import import import_torchvision_datasets
from mathdnn_jax.nets import Sequential
from parity.rules.targets import widened

from . import torchvision_twins as twins

torch = pytest.importorskip("torch", reason="torchvision's networks are PyTorch's")

# Many small programs, each run a few times.
pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def models() -> Any:
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("the networks are torchvision's")
    import_torchvision_datasets()
    from torchvision import models

    return models


def randomized(module: Any) -> Any:
    """Statistics and scales as training leaves them: not 0 and 1, under which mistakes do not show."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                for array, low in ((layer.running_mean, -0.3), (layer.running_var, 0.5), (layer.bias, -0.3)):
                    array.uniform_(low, low + 0.6, generator=generator)
                layer.weight.uniform_(0.7, 1.3, generator=generator)
        for name, array in module.named_parameters():
            if name.endswith("layer_scale"):
                array.uniform_(0.2, 1, generator=generator)
    return module.eval()


def images(side: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, side, side, 3)).astype(np.float32)


def certified(module: Any, twin: Any, side: int) -> tuple[dict[str, Any], Any, Any]:
    x = images(side)
    variables, state = twins.shapes(twin, x), randomized(module).state_dict()
    table = parity.infer_rules(state, variables, apply=twin.apply, inputs=x)
    # Flax's own batch norm has no place for PyTorch's count.
    counts = set() if isinstance(twin, Sequential) else {n for n in state if n.endswith("num_batches_tracked")}
    assert set(table.ignored) == counts
    converted = parity.convert(state, variables, table)
    back = parity.export(converted, table)
    assert back.keys() == state.keys() - table.ignored.keys()
    assert all(array.tobytes() == state[name].numpy().tobytes() for name, array in back.items())
    # Flax's LayerNorm relies on implicit promotion for float64.
    with jax.numpy_dtype_promotion("standard"):
        certificate = parity.certify(module, twin.apply, converted, x, rules=table)
    assert certificate["passed"]
    # A block of ConvNeXt has a parameter of its own, and the twin has no module for it.
    blocks = {name.rpartition(".")[0] for name in state if name.endswith("layer_scale")}
    assert set(certificate["unwatched"]) == blocks
    return certificate, table, converted


def same_without_batch_norms(module: Any, apply: Any, variables: Any, side: int) -> None:
    """That a folded network, float64, computes what PyTorch's does with its batch norms."""
    x = images(side).astype(np.float64)
    with torch.no_grad():
        want = copy.deepcopy(module).double()(torch.from_numpy(np.moveaxis(x, -1, 1))).numpy()
    assert "batch_stats" not in variables
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        y = np.asarray(jax.jit(apply)(variables, x))
    # Folding rounds each weight once more: 10^5 times less than the float32 that the weights came in.
    np.testing.assert_allclose(y, want, rtol=0, atol=1e-11 * np.abs(want).max())


def folded_by_pairs(converted: Any, pairs: dict[str, str], epsilon: float) -> Any:
    with jax.enable_x64(True):
        variables, report = mathdnn_jax.fold_batch_norms(widened(converted), pairs, epsilon=epsilon)
    assert report.left == ()
    assert sum(entry.action == "removed" for entry in report.layers) == len(pairs)
    return variables


@pytest.mark.long
def test_resnet_18(models: Any) -> None:
    torch.manual_seed(0)
    module = models.resnet18(weights=None, num_classes=10)
    certificate, table, converted = certified(module, twins.ResNet18(10), 32)
    names = [entry["layer"] for entry in certificate["layers"]]
    assert names[:2] == ["conv1", "bn1"]
    # Blocks are compared as a whole too.
    assert {"layer1_0/conv1", "layer2_0/downsample_1", "layer4_1"} <= set(names)
    assert len(table.rules) == 20 + 20 * 4 + 2
    norms = {rule.target[12:-5] for rule in table.rules if rule.target.endswith("/mean")}
    pairs = {norm: norm.replace("bn", "conv").replace("downsample_1", "downsample_0") for norm in norms}
    assert len(pairs) == 20
    variables = folded_by_pairs(converted, pairs, 1e-5)
    same_without_batch_norms(module, twins.ResNet18(10, folded=True).apply, variables, 32)


def test_vgg_11_with_batch_norm(models: Any) -> None:
    torch.manual_seed(0)
    certificate, table, _ = certified(small_vgg(models), twins.VGG11(16, 10), 64)
    rules = {rule.target: rule for rule in table.rules}
    first = rules["params/Dense_0/kernel"]
    assert (first.layout, dict(first.options), first.sources) == (
        "flattened",
        {"channels": 512},
        ("classifier.0.weight",),
    )
    assert rules["params/Conv_7/kernel"].reason == "the same position in the order of computation"
    assert rules["batch_stats/BatchNorm_7/var"].sources == ("features.26.running_var",)
    assert len(certificate["layers"]) == 8 + 8 + 3 + 1


@pytest.mark.long
def test_vgg_11_as_a_sequential_is_folded_by_the_surgery(models: Any) -> None:
    torch.manual_seed(0)
    module, network = small_vgg(models), twins.vgg_11(16, 10)
    certificate, _, converted = certified(module, network, 32)
    assert len(certificate["layers"]) >= 8 + 8 + 3 + 1
    with jax.enable_x64(True):
        folded, variables, report = mathdnn_jax.remove_batch_norm(network, widened(converted))
    assert report.left == ()
    assert sum(entry.action == "removed" for entry in report.layers) == 8
    assert len(folded.layers) == len(network.layers) - 8
    same_without_batch_norms(module, folded.apply, variables, 32)


def small_vgg(models: Any) -> Any:
    """VGG-11-BN but for the width of its dense layers, which have nine tenths of the weights."""
    vgg = models.vgg
    features = vgg.make_layers(vgg.cfgs["A"], batch_norm=True)
    with torch.device("meta"):
        module = vgg.VGG(torch.nn.Identity(), num_classes=10, init_weights=False)
    module.features = features
    module.classifier = torch.nn.Sequential(
        torch.nn.Linear(512 * 7 * 7, 16),
        torch.nn.ReLU(True),
        torch.nn.Dropout(),
        torch.nn.Linear(16, 16),
        torch.nn.ReLU(True),
        torch.nn.Dropout(),
        torch.nn.Linear(16, 10),
    )
    return module


@pytest.mark.long
def test_mobilenet_v3(models: Any) -> None:
    torch.manual_seed(0)
    module = models.mobilenet_v3_small(weights=None, num_classes=10)
    _, table, converted = certified(module, twins.MobileNetV3Small(10), 64)
    norms = {rule.target[12:-5] for rule in table.rules if rule.target.endswith("/mean")}
    variables = folded_by_pairs(converted, {norm: f"{norm[:-1]}0" for norm in norms}, 1e-3)
    same_without_batch_norms(module, twins.MobileNetV3Small(10, folded=True).apply, variables, 64)


@pytest.mark.long
def test_convnext(models: Any) -> None:
    torch.manual_seed(0)
    widths, depths = (8, 16, 24, 32), (1, 1, 2, 1)
    settings = [
        models.convnext.CNBlockConfig(width, after, depth)
        for width, after, depth in zip(widths, [*widths[1:], None], depths, strict=True)
    ]
    module = models.ConvNeXt(settings, num_classes=10)
    certificate, table, converted = certified(module, twins.ConvNeXt(widths, depths, 10), 64)
    layouts = {rule.target: rule.layout for rule in table.rules}
    assert layouts["params/features_1_0_layer_scale"] == "trailing_ones"
    assert "features_1_0_block_3" in [entry["layer"] for entry in certificate["layers"]]
    # It has layer norms alone, which depend on the image: there is nothing to fold, and the report says so.
    same, report = mathdnn_jax.fold_batch_norms(converted, {}, epsilon=1e-5)
    assert report.describe().endswith("there was nothing to do")
    jax.tree.map(np.testing.assert_array_equal, same, dict(converted))


@pytest.mark.long
def test_convnext_tiny(models: Any) -> None:
    torch.manual_seed(0)
    module = models.convnext_tiny(weights=None, num_classes=10)
    certified(module, twins.ConvNeXt((96, 192, 384, 768), (3, 3, 9, 3), 10), 64)
