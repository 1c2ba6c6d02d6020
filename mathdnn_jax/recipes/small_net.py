"""The small convolutional network, as a classifier."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from mathdnn_jax.errors import DataSetError
from mathdnn_jax.nets import small_net
from mathdnn_jax.recipes.images import channels_last, load_images, unit_pixels
from mathdnn_jax.recipes.measure import dtype_of, finite_mean, in_batches
from mathdnn_jax.recipes.recipe import Recipe, Sets, Settings, Task
from mathdnn_jax.training.update import Tree


def load(settings: Settings) -> Sets:
    """{"image": uint8 (N, H, W, C), "label": int32 (N,)}.

    Raises:
        DataSetError: a label is none of the classes.
    """
    sets = load_images(settings)
    for examples in (sets.training, sets.validation, sets.test):
        if examples is None:
            continue
        if int(examples["label"].max()) >= settings["classes"]:
            raise DataSetError(
                f"{settings['data']} has the label {examples['label'].max()}, and labels of classes="
                f"{settings['classes']} go to {settings['classes'] - 1}"
            )
        examples["image"] = examples["image"].reshape(-1, *channels_last(sets.image_shape))
    return sets


def build(settings: Settings, image_shape: tuple[int, ...]) -> Task:
    """Minimise the mean cross-entropy in nats of softmax of the outputs, with batch norms in train mode.

    Figures of the test images: the share that is classified rightly, and the mean cross-entropy in nats.

    Source: seeds 001 P1, 004 P3 for the network.
    """
    network = small_net(channels=settings["channels"], hidden=settings["hidden"], classes=settings["classes"])
    event_shape = channels_last(image_shape)

    def init(key: jax.Array, batch: Tree) -> tuple[Tree, Tree]:
        del batch
        variables = dict(network.init(key, jnp.zeros((1, *event_shape), jnp.float32)))
        return variables.pop("params"), variables

    def loss(params: Tree, state: Tree, batch: Tree, key: jax.Array) -> Any:
        del key
        x = unit_pixels(batch["image"], dtype_of(params))
        outputs, state = network.apply({"params": params, **state}, x, train=True, mutable=["batch_stats"])
        value = optax.losses.softmax_cross_entropy_with_integer_labels(outputs, batch["label"]).mean()
        return value, (state, {"accuracy": _right(outputs, batch["label"]).mean()})

    def judge(params: Tree, state: Tree, batch: Tree, key: jax.Array) -> dict[str, jax.Array]:
        del key
        outputs: Any = network.apply({"params": params, **state}, unit_pixels(batch["image"], dtype_of(params)))
        entropy = optax.losses.softmax_cross_entropy_with_integer_labels(outputs, batch["label"])
        return {"cross_entropy": jnp.asarray(entropy), "right": _right(outputs, batch["label"])}

    measured = in_batches(judge)

    def figures(params: Tree, state: Tree, examples: Tree) -> tuple[float, float]:
        found = measured(params, state, examples, jax.random.key(0))
        return finite_mean(found["cross_entropy"], "the cross-entropy"), float(found["right"].mean())

    def validate(params: Tree, state: Tree, examples: Tree) -> dict[str, float]:
        entropy, accuracy = figures(params, state, examples)
        return {"validation_loss": entropy, "validation_accuracy": accuracy}

    def evaluate(params: Tree, state: Tree, sets: Sets) -> dict[str, float]:
        entropy, accuracy = figures(params, state, sets.test)
        return {"accuracy": accuracy, "cross_entropy_nats": entropy, "examples": len(sets.test["label"])}

    return Task(
        init=init,
        loss=loss,
        validate=validate,
        evaluate=evaluate,
        variables=lambda params, state: {"params": params, **state},
        restore=lambda tree: (tree["params"], {"batch_stats": tree["batch_stats"]}),
        torch={"": "small-net"},
    )


def _right(outputs: jax.Array, labels: jax.Array) -> jax.Array:
    return (outputs.argmax(-1) == labels).astype(jnp.float32)


SMALL_NET = Recipe(
    defaults={
        "data": "cifar10",
        "channels": 16,
        "hidden": 1024,
        "classes": 10,
        "epochs": 20,
        "remainder": "drop",
    },
    load=load,
    build=build,
    # A batch norm would see the filling of a padded batch.
    choices={"remainder": ("drop", "wrap")},
)
