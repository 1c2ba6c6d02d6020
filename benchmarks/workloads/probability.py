"""The gambler's ruin by importance sampling, and two estimators of a gradient."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks.case import Case, Settings, Workload, check_least_batch
from benchmarks.frameworks import on_torch
from mathdnn_jax.probability import (
    gamblers_ruin,
    reparameterized_gradient,
    score_function_gradient,
    sine_integrand,
    sine_log_prob,
    sine_sample,
)

START, GOAL, PLAYS = 100, 200, 600
WIN, PROPOSAL = 18 / 37, 0.55
LOOP = "Python loop"
RANDOM = 0.5
"""How far two random estimates of the same quantity may differ, relatively; another quantity would differ by more."""
AT_ONCE = 10_000
DRAWS = 100_000
FEW_GAMBLERS, FEW_DRAWS = 2000, 4000
"""The least numbers for which two estimates surely differ by less than `RANDOM`."""
POINT = {"mean": 0.4, "log_scale": -0.5}
NORMALS = "on a CPU, Threefry takes twice as long to draw normal numbers as PyTorch's generator"


def ruin_cases(settings: Settings) -> Iterator[Case]:
    """The logarithm of P(200 is reached from 100 within 600 plays)."""
    check_least_batch(settings, FEW_GAMBLERS, "random estimates are compared, and too few of them differ by chance")
    for count in settings.batches or ((FEW_GAMBLERS,) if settings.quick else (3000, 1_000_000)):
        yield _ruin(count, settings)


def gradient_cases(settings: Settings) -> Iterator[Case]:
    """∇E[X sin X] by the score function and by reparameterisation, with standard errors."""
    check_least_batch(settings, FEW_DRAWS, "random estimates are compared, and too few of them differ by chance")
    for draws in settings.batches or ((FEW_DRAWS,) if settings.quick else (DRAWS,)):
        yield _gradient("score function", draws, settings)
        yield _gradient("reparameterised", draws, settings)


def _ruin(count: int, settings: Settings) -> Case:
    play = jax.jit(lambda key: gamblers_ruin(key, count).log_mean_weight)
    functions: dict[str, Callable[[], torch.Tensor]] = {"eager, inference mode": partial(_torch_ruin, count)}
    weights = on_torch.compiled(_weights, settings)
    functions |= {name: partial(_torch_ruin, count, weigh) for name, weigh in weights.items()}

    others = {"NumPy": partial(_numpy_ruin, count)}
    if count <= AT_ONCE:
        others[LOOP] = partial(_python_ruin, count)
    return Case(
        label=f"{count} gamblers",
        items=count,
        unit="gamblers",
        jax=lambda: play(jax.random.key(0)).block_until_ready(),
        torch={name: on_torch.inference(function) for name, function in functions.items()},
        others=others,
        tolerance=RANDOM,
        targets={LOOP: 20.0} if count == 3000 else {},
        lowered=lambda: play.lower(jax.random.key(0)),
    )


def _log_weights(wins: Any, plays: Any) -> Any:
    return wins * math.log(WIN / PROPOSAL) + (plays - wins) * math.log((1 - WIN) / (1 - PROPOSAL))


def _python_ruin(count: int) -> np.ndarray:
    """Play as the course does, one gambler after another until the game ends."""
    total = 0.0
    for _ in range(count):
        balance, wins, plays = START, 0, 0
        while 0 < balance < GOAL and plays < PLAYS:
            plays += 1
            if random.random() < PROPOSAL:
                balance += 1
                wins += 1
            else:
                balance -= 1
        if balance == GOAL:
            total += math.exp(_log_weights(wins, plays))
    return np.asarray(math.log(total / count))


def _numpy_ruin(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    total = 0.0
    for first in range(0, count, AT_ONCE):
        lots = rng.random((min(AT_ONCE, count - first), PLAYS), dtype=np.float32)
        paths = START + np.cumsum(np.where(lots < PROPOSAL, np.int16(1), np.int16(-1)), 1, dtype=np.int16)
        ended = (paths == 0) | (paths == GOAL)
        plays = np.argmax(ended, 1)
        won = paths[np.arange(len(paths)), plays] == GOAL
        plays = plays[won] + 1.0
        total += float(np.exp(_log_weights((plays + GOAL - START) / 2, plays)).sum())
    return np.asarray(math.log(total / count))


def _weights(lots: torch.Tensor) -> torch.Tensor:
    paths = START + torch.where(lots < PROPOSAL, 1, -1).to(torch.int16).cumsum(1, dtype=torch.int16)
    ended = ((paths == 0) | (paths == GOAL)).to(torch.uint8)
    first = ended.argmax(1, keepdim=True)
    won = paths.gather(1, first)[:, 0] == GOAL
    plays = first[:, 0].double() + 1
    weights = torch.exp(_log_weights((plays + GOAL - START) / 2, plays))
    return torch.where(won, weights, torch.zeros_like(weights)).sum()


def _torch_ruin(count: int, weigh: Callable[[torch.Tensor], torch.Tensor] = _weights) -> torch.Tensor:
    sizes = [min(AT_ONCE, count - first) for first in range(0, count, AT_ONCE)]
    parts = [weigh(torch.rand(size, PLAYS, device=on_torch.device())).clone() for size in sizes]
    return torch.log(torch.stack(parts).sum() / count)


def _gradient(kind: str, draws: int, settings: Settings) -> Case:
    params = {name: jnp.float32(value) for name, value in POINT.items()}

    def estimate(key: jax.Array) -> jax.Array:
        if kind == "score function":
            made = score_function_gradient(sine_integrand, sine_log_prob, sine_sample, params, key, draws)
        else:
            made = reparameterized_gradient(sine_integrand, sine_sample, params, key, draws)
        parts = made.gradient, made.standard_error
        return jnp.stack([jnp.stack([part[name] for name in POINT]) for part in parts])

    by_jax = jax.jit(estimate)
    surrogate = _score_surrogate if kind == "score function" else _path_surrogate
    ways: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"vmap of grad": partial(_per_draw, surrogate)}
    ways |= on_torch.compiled(ways["vmap of grad"], settings)

    def drawing(function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], torch.Tensor]:
        return lambda: on_torch.finished(function(torch.randn(draws, device=on_torch.device())))

    return Case(
        why=NORMALS,
        label=f"{kind}, {draws} draws",
        items=draws,
        unit="draws",
        jax=lambda: by_jax(jax.random.key(0)).block_until_ready(),
        torch={name: drawing(function) for name, function in ways.items()},
        tolerance=RANDOM,
        lowered=lambda: by_jax.lower(jax.random.key(0)),
    )


def _score_surrogate(params: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    x = (params[0] + torch.exp(params[1]) * noise).detach()
    log_prob = -0.5 * ((x - params[0]) * torch.exp(-params[1])).square() - params[1]
    return (x * torch.sin(x)).detach() * log_prob


def _path_surrogate(params: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    x = params[0] + torch.exp(params[1]) * noise
    return x * torch.sin(x)


def _per_draw(surrogate: Callable[..., torch.Tensor], noise: torch.Tensor) -> torch.Tensor:
    """Return the mean of the gradients of all draws, and its standard error (2, 2)."""
    params = torch.tensor(list(POINT.values()), device=noise.device)
    each = torch.func.vmap(torch.func.grad(surrogate), in_dims=(None, 0))(params, noise)
    return torch.stack([each.mean(0), each.std(0) / math.sqrt(len(noise))])


RUIN = Workload("gamblers-ruin", "a gambler's chance by importance sampling, including the random numbers", ruin_cases)
GRADIENTS = Workload(
    "gradient-estimators", "score-function and reparameterised gradients, with standard errors", gradient_cases
)
