"""The layers of a PyTorch network with the rules of their arrays, and the JAX layers that they become."""

from __future__ import annotations

from typing import NamedTuple

from parity.rules.table import Rule


class Line(NamedTuple):
    """A PyTorch submodule and a rule for each of its arrays, with its name alone as the source.

    In the targets `{}` stands for the JAX layer, which has the name of the submodule with underscores for the dots
    unless `layer` gives another.
    """

    module: str
    arrays: tuple[Rule, ...] = ()
    layer: str = ""

    @property
    def name(self) -> str:
        """The JAX layer's name."""
        return self.layer or self.module.replace(".", "_")

    @property
    def rules(self) -> list[Rule]:
        """The rules with full source keys and target paths."""
        prefix = f"{self.module}." if self.module else ""
        return [
            rule._replace(sources=tuple(prefix + key for key in rule.sources), target=rule.target.format(self.name))
            for rule in self.arrays
        ]


BIAS = Rule(("bias",), "params/{}/bias", "same")


def convolution(module: str) -> Line:
    """A convolution with a bias."""
    return Line(module, (Rule(("weight",), "params/{}/kernel", "convolution"), BIAS))


def transposed_convolution(module: str) -> Line:
    """A transposed convolution with a bias."""
    kernel = Rule(("weight",), "params/{}/kernel", "transposed_convolution", {"groups": 1})
    return Line(module, (kernel, BIAS))


def dense(module: str) -> Line:
    """A linear layer with a bias."""
    return Line(module, (Rule(("weight",), "params/{}/kernel", "linear"), BIAS))


def dense_after_image(module: str, channels: int) -> Line:
    """A linear layer with a bias after a flattened image: the rows of its kernel go from C, H, W to H, W, C order.

    So the activation is flattened as it lies in memory, and inference pays nothing for the order of the checkpoint.
    """
    return Line(module, (Rule(("weight",), "params/{}/kernel", "flattened", {"channels": channels}), BIAS))


def batch_norm(module: str) -> Line:
    """A batch norm with its running statistics."""
    return Line(
        module,
        (
            Rule(("weight",), "params/{}/scale", "same"),
            BIAS,
            Rule(("running_mean",), "batch_stats/{}/mean", "same"),
            Rule(("running_var",), "batch_stats/{}/var", "same"),
            Rule(("num_batches_tracked",), "batch_stats/{}/num_batches_tracked", "counter"),
        ),
    )


def linear_rules(module: str, layer: str) -> tuple[Rule, Rule]:
    """Return the rules of a linear layer's kernel and bias, by PyTorch's submodule and the JAX layer's path."""
    return (
        Rule((f"{module}.weight",), f"{layer}/kernel", "linear"),
        Rule((f"{module}.bias",), f"{layer}/bias", "same"),
    )
