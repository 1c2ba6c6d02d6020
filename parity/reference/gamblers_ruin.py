"""Importance sampling of the gambler's ruin in PyTorch."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def gamblers_ruin(
    wins: Tensor, win_probability: float, proposal_probability: float, *, start: int = 100, goal: int = 200
) -> tuple[Tensor, Tensor]:
    """Estimate P(the goal is reached before 0) from games that are played with another probability of winning.

    Args:
        wins: (N, plays), True where a play is won; each play is won with `proposal_probability`.
        win_probability: p, that of the game whose probability is estimated.
        proposal_probability: q, that of the games that are played.
        start: the balance at the beginning.
        goal: the balance that ends the game, as 0 does.

    Returns:
        The mean of the weights (p/q)^wins ((1 − p)/(1 − q))^losses of the games that reach the goal, others having the
        weight 0, and its standard error; both in float64.

    Source: course 003, P5, where the estimate is printed with six decimals (erratum E6).
    """
    balance = torch.full((len(wins),), start)
    log_weight = torch.zeros(len(wins), dtype=torch.float64)
    log_win = math.log(win_probability / proposal_probability)
    log_loss = math.log((1 - win_probability) / (1 - proposal_probability))
    for won in wins.unbind(1):
        playing = (balance > 0) & (balance < goal)
        balance = torch.where(playing, balance + torch.where(won, 1, -1), balance)
        log_weight += torch.where(playing, torch.where(won, log_win, log_loss), 0.0)
    weights = torch.where(balance == goal, log_weight.exp(), 0.0)
    return weights.mean(), weights.std() / math.sqrt(len(weights))
