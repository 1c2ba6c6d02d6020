"""PyTorch's ways to train: eager, with fused or foreach Adam, compiled, and each step as one CUDA graph."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from benchmarks.case import COMPARED_STEPS, Contender, Settings
from benchmarks.frameworks import cuda, on_torch

Loss = Callable[[torch.Tensor], torch.Tensor]
Order = Callable[[], Iterable[torch.Tensor]]
Read = Callable[[torch.Tensor], torch.Tensor]


class Objective(nn.Module):
    """A module with the loss of its training as its forward pass."""

    def __init__(
        self,
        module: nn.Module,
        loss: Callable[[Any, torch.Tensor], torch.Tensor],
        trained: nn.Module | None = None,
    ) -> None:
        """Take the module, its loss as a function of module and batch, and the part to train if it is not all of it."""
        super().__init__()
        self.module, self.loss = module, loss
        self.trained = module if trained is None else trained

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of a batch."""
        return self.loss(self.module, rows)


def negative_log_likelihood(module: nn.Module) -> Objective:
    """Return the objective −mean log p of the batch, in nats, for a module that has `log_prob`."""

    def nats(module: Any, rows: torch.Tensor) -> torch.Tensor:
        value: torch.Tensor = -module.log_prob(rows).mean()
        return value

    return Objective(module, nats).train()


class _Trainer:
    """One baseline: its own copy of the weights, and for each player an optimiser and a loss."""

    def __init__(self, players: Mapping[str, Objective], precision: str, **adam: Any) -> None:
        # Copied together, since two players share their networks.
        self.players = copy.deepcopy(dict(players))
        self.first = {name: copy.deepcopy(each.trained.state_dict()) for name, each in self.players.items()}
        self.optimizers = {
            name: torch.optim.Adam(each.trained.parameters(), **adam) for name, each in self.players.items()
        }
        self.losses = {name: _loss(objective, precision) for name, objective in self.players.items()}

    def restart(self) -> None:
        """Restore the first weights and the optimisers' first states in place, at the same memory addresses."""
        for name, objective in self.players.items():
            objective.trained.load_state_dict(self.first[name])
            for state in self.optimizers[name].state.values():
                for tensor in state.values():
                    tensor.zero_()

    def step(self, rows: torch.Tensor) -> torch.Tensor:
        """Take one step of each player, and return the loss of the first player before its step."""
        values = []
        for name, loss in self.losses.items():
            value = loss(rows)
            self.optimizers[name].zero_grad()
            value.backward()
            self.optimizers[name].step()
            values.append(value.detach())
        return values[0]


class _GraphTrainer(_Trainer):
    """A baseline whose whole step (forward, backward, fused Adam) is captured once as a CUDA graph and replayed."""

    replay: Callable[[], torch.Tensor] | None = None

    def __init__(self, players: Mapping[str, Objective], settings: Settings, **adam: Any) -> None:
        # Adam can count its steps in memory that a graph may change only on a GPU.
        capturable = {} if settings.stand_in else {"capturable": True}
        super().__init__(players, settings.precision, fused=True, **capturable, **adam)
        self.stand_in = settings.stand_in

    def step(self, rows: torch.Tensor) -> torch.Tensor:
        if self.replay is None:
            self.rows = rows.clone()
            self.replay = cuda.capture(lambda: super(_GraphTrainer, self).step(self.rows), stand_in=self.stand_in)
            self.restart()
        self.rows.copy_(rows)
        return self.replay().clone()


def _loss(objective: Objective, precision: str) -> Loss:
    """Return the loss of a batch; with bf16 it casts parameters and batch, and the parameters stay float32."""

    def loss(rows: torch.Tensor) -> torch.Tensor:
        value: torch.Tensor
        if precision == "bf16":
            low = {name: parameter.bfloat16() for name, parameter in objective.named_parameters()}
            value = torch.func.functional_call(objective, low, (rows.bfloat16(),))
        else:
            value = objective(rows)
        return value

    return loss


def first_losses(losses: torch.Tensor) -> torch.Tensor:
    """Return the losses of the first `COMPARED_STEPS` steps."""
    return losses[:COMPARED_STEPS]


def training_baselines(
    objective: Objective | Mapping[str, Objective],
    rate: float,
    order: Order,
    settings: Settings,
    *,
    restart: bool,
    read: Read = first_losses,
    **adam: Any,
) -> dict[str, Contender]:
    """Return contenders that take Adam's steps over the batches of `order()`, in each of PyTorch's ways.

    Args:
        objective: the objective to minimise, with the weights that training starts from; or an objective for each
            player, of which each takes a step in turn.
        rate: Adam's learning rate.
        order: returns the batches of one run; called in each run, as the batches may be shuffled.
        settings: the modes of `torch.compile` to include, and the precision.
        restart: whether every run starts from the first weights; otherwise each run continues where the last one ended.
        read: selects the result of a run from the losses of all its steps.
        **adam: further options of `torch.optim.Adam`.
    """
    players = objective if isinstance(objective, Mapping) else {"model": objective}
    adam = {"lr": rate, **adam}
    trainers = {
        "eager": _Trainer(players, settings.precision, **adam),
        "eager, fused Adam": _Trainer(players, settings.precision, fused=True, **adam),
    }
    if on_torch.device().type == "cpu":  # Adam is foreach by default on a GPU.
        trainers["eager, foreach Adam"] = _Trainer(players, settings.precision, foreach=True, **adam)
    for name, mode in on_torch.compile_modes(settings).items():
        trainer = _Trainer(players, settings.precision, fused=True, **adam)
        trainer.losses = {
            player: cuda.compile_in_mode(loss, mode, stand_in=settings.stand_in)
            for player, loss in trainer.losses.items()
        }
        trainers[f"{name}, fused Adam"] = trainer
    if on_torch.has_graphs(settings):
        trainers["CUDA graphs, fused Adam"] = _GraphTrainer(players, settings, **adam)

    def contender(trainer: _Trainer) -> Contender:
        def run() -> torch.Tensor:
            if restart:
                trainer.restart()
            losses = [trainer.step(rows) for rows in order()]
            return on_torch.finished(read(torch.stack(losses)))

        return run

    return {name: contender(trainer) for name, trainer in trainers.items()}
