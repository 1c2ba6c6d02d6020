"""The recipe of the small convolutional network, as a classifier."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from mathdnn_jax.errors import DataSetError
from mathdnn_jax.nets import small_net
from mathdnn_jax.nets.pure_module import pure_module
from mathdnn_jax.recipes.images import channels_last, load_images, unit_pixels
from mathdnn_jax.recipes.measure import dtype_of, finite_mean, in_batches
from mathdnn_jax.recipes.recipe import Recipe, Sets, Settings, Task
from mathdnn_jax.training.update import Tree


def load(settings: Settings) -> Sets:
    """Load {"image": uint8 (N, H, W, C), "label": int32 (N,)}.

    Raises:
        DataSetError: a label exceeds the number of classes.
    """
    sets = load_images(settings)
    for examples in (sets.training, sets.validation, sets.test):
        if examples is None:
            continue
        if int(examples["label"].max()) >= settings["classes"]:
            raise DataSetError(
                f"{settings['data']} has the label {examples['label'].max()}, but with "
                f"classes={settings['classes']} labels go from 0 to {settings['classes'] - 1}; set classes higher"
            )
        examples["image"] = examples["image"].reshape(-1, *channels_last(sets.image_shape))
    return sets


def build(settings: Settings, image_shape: tuple[int, ...]) -> Task:
    """Minimise the mean cross-entropy of the outputs' softmax in nats, with batch norms in training mode.

    The metrics on the test images are the accuracy and the mean cross-entropy in nats.

    Source: course 001, P1 and course 004, P3 for the network.
    """
    layers = small_net(channels=settings["channels"], hidden=settings["hidden"], classes=settings["classes"])
    network = pure_module(layers, "the classifier", stateful=True)
    event_shape = channels_last(image_shape)

    def init(key: jax.Array, batch: Tree) -> tuple[Tree, Tree]:
        del batch
        return network.init(key, (1, *event_shape))

    def loss(params: Tree, state: Tree, batch: Tree, key: jax.Array) -> Any:
        del key
        x = unit_pixels(batch["image"], dtype_of(params))
        outputs, state = network.apply(params, state, x, train=True)
        value = optax.losses.softmax_cross_entropy_with_integer_labels(outputs, batch["label"]).mean()
        return value, (state, {"accuracy": _correct(outputs, batch["label"]).mean()})

    def classify(params: Tree, state: Tree, batch: Tree, key: jax.Array) -> dict[str, jax.Array]:
        del key
        outputs, _ = network.apply(params, state, unit_pixels(batch["image"], dtype_of(params)))
        entropy = optax.losses.softmax_cross_entropy_with_integer_labels(outputs, batch["label"])
        return {"cross_entropy": jnp.asarray(entropy), "correct": _correct(outputs, batch["label"])}

    measured = in_batches(classify)

    def metrics(params: Tree, state: Tree, examples: Tree) -> tuple[float, float]:
        found = measured(params, state, examples, jax.random.key(0))
        return finite_mean(found["cross_entropy"], "the cross-entropy"), float(found["correct"].mean())

    def validate(params: Tree, state: Tree, examples: Tree) -> dict[str, float]:
        entropy, accuracy = metrics(params, state, examples)
        return {"validation_loss": entropy, "validation_accuracy": accuracy}

    def evaluate(params: Tree, state: Tree, sets: Sets) -> dict[str, float]:
        entropy, accuracy = metrics(params, state, sets.test)
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


def _correct(outputs: jax.Array, labels: jax.Array) -> jax.Array:
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
    # Padding would enter the statistics of the batch norms.
    choices={"remainder": ("drop", "wrap")},
)
