"""Equations that contain programs: calls, loops, branches, and rules of differentiation."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from mathdnn_jax.testing.high_precision.machine import Machine, Rule


def _call(parameter: str) -> Rule:
    def rule(machine: Machine, equation: Any, *inputs: np.ndarray) -> list[np.ndarray]:
        program = equation.params[parameter]
        return machine.run_closed(program, inputs) if hasattr(program, "consts") else machine.run(program, (), inputs)

    return rule


def _solve(machine: Machine, equation: Any, *inputs: np.ndarray) -> list[np.ndarray]:
    """Solve a linear system by the program that the equation brings for it."""
    lengths = equation.params["const_lengths"]
    before = lengths.matvec + lengths.vecmat
    constants, right = inputs[before : before + lengths.solve], inputs[sum(lengths) :]
    return machine.run_closed(equation.params["jaxprs"].solve, (*constants, *right))


def _scan(machine: Machine, equation: Any, *inputs: np.ndarray) -> list[np.ndarray]:
    p = equation.params
    machine.approximate = True
    constants, carry = inputs[: p["num_consts"]], list(inputs[p["num_consts"] : p["num_consts"] + p["num_carry"]])
    rows = inputs[p["num_consts"] + p["num_carry"] :]
    steps = range(p["length"])
    stacked: list[list[np.ndarray]] = []
    for k in reversed(steps) if p["reverse"] else steps:
        outputs = machine.run_closed(p["jaxpr"], (*constants, *carry, *(np.asarray(row[k]) for row in rows)))
        carry = outputs[: p["num_carry"]]
        stacked.append(outputs[p["num_carry"] :])
    stacked = stacked[::-1] if p["reverse"] else stacked
    variables = equation.outvars[p["num_carry"] :]
    collected = [
        np.stack([step[k] for step in stacked]) if stacked else np.empty(variable.aval.shape, object)
        for k, variable in enumerate(variables)
    ]
    return [*carry, *collected]


def _while(machine: Machine, equation: Any, *inputs: np.ndarray) -> list[np.ndarray]:
    p = equation.params
    machine.approximate = True
    condition, body = inputs[: p["cond_nconsts"]], inputs[p["cond_nconsts"] : p["cond_nconsts"] + p["body_nconsts"]]
    carry = list(inputs[p["cond_nconsts"] + p["body_nconsts"] :])
    while True:
        machine.spend(1)
        (going,) = machine.run_closed(p["cond_jaxpr"], (*condition, *carry))
        if not going.any():
            return carry
        new = machine.run_closed(p["body_jaxpr"], (*body, *carry))
        # Under vmap the condition has axes, which are the first axes of what is carried.
        carry = [np.where(_aligned(going, after), after, before) for after, before in zip(new, carry, strict=True)]


def _aligned(condition: np.ndarray, array: np.ndarray) -> np.ndarray:
    return condition.reshape(condition.shape + (1,) * (array.ndim - condition.ndim))


def _branch(machine: Machine, equation: Any, index: np.ndarray, *inputs: np.ndarray) -> list[np.ndarray]:
    branches = equation.params["branches"]
    return machine.run_closed(branches[int(np.clip(index, 0, len(branches) - 1))], inputs)


def _platform(machine: Machine, equation: Any) -> np.ndarray:
    """Return the branch for this machine: the first that names its platform, or that names none."""
    backend = jax.default_backend()
    for k, names in enumerate(equation.params["platforms"]):
        if names is None or backend in names:
            return np.asarray(k, equation.outvars[0].aval.dtype)
    return np.asarray(len(equation.params["platforms"]) - 1, equation.outvars[0].aval.dtype)


NEUTRAL: dict[str, Rule] = {
    **dict.fromkeys(("jit", "remat2"), _call("jaxpr")),
    **dict.fromkeys(("closed_call", "custom_jvp_call", "custom_vjp_call"), _call("call_jaxpr")),
    "custom_linear_solve": _solve,
    "scan": _scan,
    "while": _while,
    "cond": _branch,
    "platform_index": _platform,
}
