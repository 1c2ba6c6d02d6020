"""smallNet: inference with its batch norms and with them folded away, and steps of its training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import optax
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from benchmarks.case import COMPARED_STEPS, Case, Settings, Workload, check_least_batch
from benchmarks.frameworks import on_jax, on_torch
from benchmarks.frameworks.train_jax import fit_contender
from benchmarks.frameworks.train_torch import Objective, training_baselines
from benchmarks.workloads.networks import SEED, channels_first, draw, network_baselines, size, uniform
from benchmarks.workloads.training import CLOSE, RATE
from mathdnn_jax.nets import Sequential, small_net
from mathdnn_jax.surgery import count_operations, remove_batch_norm
from parity import convert
from parity.reference import SmallNetTest, SmallNetTrain

FULL: dict[str, Any] = {"channels": 16, "hidden": 1024, "classes": 10}
QUICK: dict[str, Any] = {"channels": 4, "hidden": 8, "classes": 3}
SIDE = 32
IMAGES = 2000
STEPS = 20
CONVOLUTIONS = "XLA's convolution of 16 channels on a CPU takes 4.9 ms for 100 images, PyTorch's 2.9"


def prepare(settings: Settings) -> tuple[Sequential, dict[str, Any], Callable[[], SmallNetTrain]]:
    """Return the network, its variables with random statistics in the batch norms, and a function to make its twin."""
    widths = QUICK if settings.quick else FULL
    rng = np.random.default_rng(SEED)
    state = draw(lambda: SmallNetTrain(**widths))
    for name, array in state.items():
        if name.endswith("running_mean"):
            state[name] = 0.1 * rng.standard_normal(array.shape).astype(np.float32)
        if name.endswith("running_var"):
            state[name] = rng.uniform(0.5, 2, array.shape).astype(np.float32)
    variables = on_jax.cast(convert(state, "small-net"), "f32")
    return small_net(**widths), variables, lambda: on_torch.module_with(lambda: SmallNetTrain(**widths), state)


def batch_norm_cases(settings: Settings) -> Iterator[Case]:
    """Batch norms unchanged, in eval mode."""
    network, variables, twin = prepare(settings)
    for batch in _batches(settings):
        yield _inference(network, variables, twin(), batch, settings, {"best": 1.6} if batch == 100 else {})


def folded_cases(settings: Settings) -> Iterator[Case]:
    """Batch norms folded into the preceding layers, by `remove_batch_norm` and by `fuse_conv_bn_eval`."""
    network, variables, twin = prepare(settings)
    network, variables, _ = remove_batch_norm(network, variables)
    variables = on_jax.cast(variables, "f32")
    module = fused(twin(), QUICK if settings.quick else FULL)
    for batch in _batches(settings):
        targets = {"best": 1.6} if batch == 100 else {}
        yield _inference(network, variables, module, batch, settings, targets)


def fused(module: SmallNetTrain, widths: dict[str, Any]) -> SmallNetTest:
    """Return the same network with its batch norms folded away by PyTorch."""
    test = SmallNetTest(**widths).to(on_torch.device()).eval()
    with torch.no_grad():
        for name in ("conv1", "conv2", "fc1"):
            linear, norm = getattr(module, name)[0], getattr(module, name)[1]
            fuse = fuse_linear_bn_eval if name == "fc1" else fuse_conv_bn_eval
            getattr(test, name)[0].load_state_dict(fuse(linear, norm).state_dict())
        test.fc2[0].load_state_dict(module.fc2[0].state_dict())
    return test


def step_cases(settings: Settings) -> Iterator[Case]:
    """Steps of Adam in train mode by `fit` in one dispatch, from the same weights each time."""
    check_least_batch(settings, 2, "batch norms in training mode need the variance of several images")
    network, variables, twin = prepare(settings)
    for batch in settings.batches or ((4,) if settings.quick else (100,)):
        yield _step(network, variables, twin(), batch, settings)


def parts_of(batch: int) -> int:
    """The number of batches in a run: 100, or as many as `IMAGES` fill, but at least one."""
    return max(min(IMAGES // batch, 100), 1)


def _batches(settings: Settings) -> tuple[int, ...]:
    return settings.batches or ((4,) if settings.quick else (1, 10, 100, 1000))


def _inference(
    network: Sequential,
    variables: dict[str, Any],
    module: nn.Module,
    batch: int,
    settings: Settings,
    targets: dict[str, float],
) -> Case:
    parts = 1 if settings.quick else parts_of(batch)
    images = uniform(parts * batch, SIDE, SIDE, 3).reshape(parts, batch, SIDE, SIDE, 3)
    here = [on_jax.on_device(part) for part in images]
    there = [on_torch.on_device(channels_first(part)) for part in images]
    apply: Any = jax.jit(network.apply)

    def run() -> jax.Array:
        done: jax.Array = jax.block_until_ready([apply(variables, x) for x in here])[-1]
        return done

    def truth() -> np.ndarray:
        exact = module.double()
        with torch.inference_mode():
            values: np.ndarray = exact(there[-1].double()).cpu().numpy()
        module.float()
        return values

    operations = count_operations(network, (SIDE, SIDE, 3))
    return Case(
        why=CONVOLUTIONS,
        label=f"batch {batch}",
        items=len(here) * batch,
        unit="images",
        jax=run,
        torch=network_baselines(module, there, settings),
        truth=truth,
        flops=float(len(here) * batch * (operations.convolution_operations + operations.dense_operations)),
        least_bytes=float(len(here) * size(variables) + images.nbytes),
        targets=targets,
        lowered=lambda: apply.lower(variables, here[0]),
    )


def _step(network: Sequential, variables: dict[str, Any], module: nn.Module, batch: int, settings: Settings) -> Case:
    steps = COMPARED_STEPS if settings.quick else STEPS
    images = uniform(steps * batch, SIDE, SIDE, 3)
    classes = int(np.shape(variables["params"]["fc2_0"]["bias"])[0])
    labels = np.random.default_rng(SEED).integers(0, classes, len(images))
    data = {"image": on_jax.on_device(images), "label": on_jax.on_device(labels.astype(np.int32))}
    # One tensor holds both image and label, so that all of PyTorch's ways to train can copy it.
    packed = np.concatenate([channels_first(images).reshape(len(images), -1), labels[:, None].astype(np.float32)], 1)
    rows = on_torch.on_device(packed)
    state = {"batch_stats": variables["batch_stats"]}

    def loss(params: Any, state: Any, batch: Any, key: jax.Array) -> Any:
        del key
        outputs, state = network.apply({"params": params, **state}, batch["image"], train=True, mutable=["batch_stats"])
        value = optax.losses.softmax_cross_entropy_with_integer_labels(outputs, batch["label"]).mean()
        return value, (state, {})

    def entropy(module: nn.Module, rows: torch.Tensor) -> torch.Tensor:
        outputs = module(rows[:, :-1].reshape(len(rows), 3, SIDE, SIDE))
        return nn.functional.cross_entropy(outputs, rows[:, -1].long())

    operations = count_operations(network, (SIDE, SIDE, 3))
    return Case(
        why=CONVOLUTIONS,
        label=f"batch {batch}",
        items=steps * batch,
        unit="images",
        jax=fit_contender(loss, variables["params"], data, optax.adam(RATE), settings, batch=batch, state=state),
        torch=training_baselines(
            Objective(module, entropy).train(), RATE, lambda: rows.split(batch), settings, restart=True
        ),
        tolerance=CLOSE,
        flops=3.0 * steps * batch * (operations.convolution_operations + operations.dense_operations),
        least_bytes=float(6 * steps * size(variables["params"])),
    )


BATCH_NORM = Workload("small-net", "smallNet on images of 32 x 32, batch norms in eval mode", batch_norm_cases)
FOLDED = Workload("small-net-folded", "smallNet with its batch norms folded away", folded_cases)
STEP = Workload("small-net-step", "steps of Adam on smallNet in train mode by mathdnn_jax.training.fit", step_cases)
