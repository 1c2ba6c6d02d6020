"""PyTorch's ways to train: eager, with fused or foreach Adam, compiled, as one CUDA graph a step."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from benchmarks.frameworks import cuda, on_torch
from benchmarks.harness.workload import Run, Settings

TOLD = 3
"""Of how many first steps the losses are compared: later ones of two correct float32 programs drift apart."""
Loss = Callable[[torch.Tensor], torch.Tensor]
Order = Callable[[], Iterable[torch.Tensor]]


Told = Callable[[torch.Tensor], torch.Tensor]


def _first(losses: torch.Tensor) -> torch.Tensor:
    return losses[:TOLD]


class Objective(nn.Module):
    """A module with the loss of its training as its forward."""

    def __init__(self, module: nn.Module, loss: Callable[[nn.Module, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.module, self.loss = module, loss

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """A batch → its mean loss."""
        return self.loss(self.module, rows)


def likelihood(module: nn.Module) -> Objective:
    """−mean log p of the rows, in nats, for a module that has `log_prob`."""

    def nats(module: Any, rows: torch.Tensor) -> torch.Tensor:
        value: torch.Tensor = -module.log_prob(rows).mean()
        return value

    return Objective(module, nats).train()


class _Trainer:
    """One baseline: its own copy of the weights, its optimiser, its loss."""

    def __init__(self, objective: Objective, rate: float, precision: str, **adam: Any) -> None:
        self.objective = copy.deepcopy(objective)
        self.precision = precision
        self.parameters = list(self.objective.parameters())
        self.first = [parameter.detach().clone() for parameter in self.parameters]
        self.optimizer = torch.optim.Adam(self.parameters, lr=rate, **adam)
        self.loss: Loss = self.compute_loss

    def compute_loss(self, rows: torch.Tensor) -> torch.Tensor:
        """With bf16 parameters and rows are cast to it for the loss, and the parameters that are kept are float32."""
        value: torch.Tensor
        if self.precision == "bf16":
            low = {name: parameter.bfloat16() for name, parameter in self.objective.named_parameters()}
            value = torch.func.functional_call(self.objective, low, (rows.bfloat16(),))
        else:
            value = self.objective(rows)
        return value

    def restart(self) -> None:
        """The first weights again, and an optimiser that has seen nothing, in the memory where they lie."""
        with torch.no_grad():
            for parameter, first in zip(self.parameters, self.first, strict=True):
                parameter.copy_(first)
            for state in self.optimizer.state.values():
                for tensor in state.values():
                    tensor.zero_()

    def step(self, rows: torch.Tensor) -> torch.Tensor:
        value = self.loss(rows)
        self.optimizer.zero_grad()
        value.backward()
        self.optimizer.step()
        return value.detach()


class _GraphTrainer(_Trainer):
    """A whole step, forward, backward and fused Adam, captured once as a CUDA graph and replayed."""

    replay: Callable[[], torch.Tensor] | None = None

    def __init__(self, objective: Objective, rate: float, settings: Settings) -> None:
        # Only on a GPU can Adam count its steps in memory that a graph may change.
        adam = {} if settings.stand_in else {"capturable": True}
        super().__init__(objective, rate, settings.precision, fused=True, **adam)
        self.stand_in = settings.stand_in

    def step(self, rows: torch.Tensor) -> torch.Tensor:
        if self.replay is None:
            self.rows = rows.clone()
            self.replay = cuda.capture(lambda: super(_GraphTrainer, self).step(self.rows), stand_in=self.stand_in)
            self.restart()
        self.rows.copy_(rows)
        return self.replay().clone()


def training_runs(
    objective: Objective, rate: float, order: Order, settings: Settings, *, restart: bool, told: Told = _first
) -> dict[str, Run]:
    """Adam's steps over the batches that `order()` returns, one run after the other; each returns its first losses.

    Args:
        objective: what is minimised, its weights as training starts.
        rate: Adam's.
        order: the batches of one run, drawn within it where they are shuffled.
        settings: which modes of `torch.compile` are among the ways, and the precision.
        restart: whether every run starts from the first weights; else each goes on where the last one ended.
        told: what a run returns of the losses of all its steps.
    """
    trainers = {
        "eager": _Trainer(objective, rate, settings.precision),
        "eager, fused Adam": _Trainer(objective, rate, settings.precision, fused=True),
    }
    if on_torch.device().type == "cpu":  # On a GPU that is the default.
        trainers["eager, foreach Adam"] = _Trainer(objective, rate, settings.precision, foreach=True)
    for name, mode in on_torch.compile_modes(settings).items():
        trainer = _Trainer(objective, rate, settings.precision, fused=True)
        trainer.loss = cuda.compile_in_mode(trainer.compute_loss, mode, stand_in=settings.stand_in)
        trainers[f"{name}, fused Adam"] = trainer
    if on_torch.has_graphs(settings):
        trainers["CUDA graphs, fused Adam"] = _GraphTrainer(objective, rate, settings)

    def runner(trainer: _Trainer) -> Run:
        def run() -> torch.Tensor:
            if restart:
                trainer.restart()
            losses = [trainer.step(rows) for rows in order()]
            return on_torch.finished(told(torch.stack(losses)))

        return run

    return {name: runner(trainer) for name, trainer in trainers.items()}
