"""torchvision's architectures with random weights: inferred with no rule by hand, converted, certified."""

from __future__ import annotations

import importlib.util
from typing import Any

import jax
import numpy as np
import pytest
import torchvision_twins as twins

import parity
from mathdnn_jax.data.torchvision_import import import_torchvision_datasets

torch = pytest.importorskip("torch", reason="torchvision's networks are PyTorch's")


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


def certified(module: Any, twin: Any, side: int) -> tuple[dict[str, Any], Any]:
    x = np.random.default_rng(0).normal(size=(2, side, side, 3)).astype(np.float32)
    variables, state = twins.shapes(twin, x), randomized(module).state_dict()
    table = parity.infer_rules(state, variables, apply=twin.apply, inputs=x)
    assert set(table.ignored) == {name for name in state if name.endswith("num_batches_tracked")}
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
    return certificate, table


def test_resnet_18(models: Any) -> None:
    torch.manual_seed(0)
    certificate, table = certified(models.resnet18(weights=None, num_classes=10), twins.ResNet18(10), 32)
    names = [entry["layer"] for entry in certificate["layers"]]
    assert names[:2] == ["conv1", "bn1"]
    # Blocks are compared as a whole too.
    assert {"layer1_0/conv1", "layer2_0/downsample_1", "layer4_1"} <= set(names)
    assert len(table.rules) == 20 + 20 * 4 + 2


def test_vgg_11_with_batch_norm(models: Any) -> None:
    torch.manual_seed(0)
    certificate, table = certified(small_vgg(models), twins.VGG11(16, 10), 64)
    rules = {rule.target: rule for rule in table.rules}
    first = rules["params/Dense_0/kernel"]
    assert (first.layout, dict(first.options), first.sources) == (
        "flattened",
        {"channels": 512},
        ("classifier.0.weight",),
    )
    assert rules["params/Conv_7/kernel"].reason == "the same place in the order of computation"
    assert rules["batch_stats/BatchNorm_7/var"].sources == ("features.26.running_var",)
    assert len(certificate["layers"]) == 8 + 8 + 3 + 1


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
    certified(models.mobilenet_v3_small(weights=None, num_classes=10), twins.MobileNetV3Small(10), 64)


@pytest.mark.long
def test_convnext(models: Any) -> None:
    torch.manual_seed(0)
    widths, depths = (8, 16, 24, 32), (1, 1, 2, 1)
    settings = [
        models.convnext.CNBlockConfig(width, after, depth)
        for width, after, depth in zip(widths, [*widths[1:], None], depths, strict=True)
    ]
    module = models.ConvNeXt(settings, num_classes=10)
    certificate, table = certified(module, twins.ConvNeXt(widths, depths, 10), 64)
    layouts = {rule.target: rule.layout for rule in table.rules}
    assert layouts["params/features_1_0_layer_scale"] == "trailing_ones"
    assert "features_1_0_block_3" in [entry["layer"] for entry in certificate["layers"]]


@pytest.mark.long
def test_convnext_tiny(models: Any) -> None:
    torch.manual_seed(0)
    module = models.convnext_tiny(weights=None, num_classes=10)
    certified(module, twins.ConvNeXt((96, 192, 384, 768), (3, 3, 9, 3), 10), 64)
