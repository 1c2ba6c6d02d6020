"""Equations that contain programs: calls, loops, branches, and custom derivative rules."""

from __future__ import annotations

from collections.abc import Mapping
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
    """Solve a linear system with the program that the equation contains for it."""
    lengths = equation.params["const_lengths"]
    before = lengths.matvec + lengths.vecmat
    constants, right = inputs[before : before + lengths.solve], inputs[sum(lengths) :]
    return machine.run_closed(equation.params["jaxprs"].solve, (*constants, *right))


def _scan(machine: Machine, equation: Any, *inputs: np.ndarray) -> list[np.ndarray]:
    p = equation.params
    machine.approximate = True
    held, carried = _counts(p)
    constants, carry = inputs[:held], list(inputs[held : held + carried])
    rows = inputs[held + carried :]
    steps = range(p["length"])
    stacked: list[list[np.ndarray]] = []
    for k in reversed(steps) if p["reverse"] else steps:
        outputs = machine.run_closed(p["jaxpr"], (*constants, *carry, *(np.asarray(row[k]) for row in rows)))
        carry = outputs[:carried]
        stacked.append(outputs[carried:])
    stacked = stacked[::-1] if p["reverse"] else stacked
    variables = equation.outvars[carried:]
    collected = [
        np.stack([step[k] for step in stacked]) if stacked else np.empty(variable.aval.shape, object)
        for k, variable in enumerate(variables)
    ]
    return [*carry, *collected]


def _counts(parameters: Mapping[str, Any]) -> tuple[int, int]:
    """Return the numbers of constants and carried values among a scan's inputs. JAX 0.12 and later groups them."""
    if "ft_in" in parameters:
        constants, carry, _ = parameters["ft_in"].unpack()
        return len(constants), len(carry)
    return parameters["num_consts"], parameters["num_carry"]


def _expanded(machine: Machine, equation: Any, *inputs: np.ndarray) -> list[np.ndarray]:
    """Evaluate a primitive that expands itself into a program, as `custom_root` does in JAX 0.12 and later."""
    primitive = equation.params["_prim"]

    def program(*arguments: Any) -> Any:
        return primitive.expand(*jax.tree.unflatten(primitive.in_tree, arguments))

    shapes = [jax.ShapeDtypeStruct(atom.aval.shape, atom.aval.dtype) for atom in equation.invars]
    return machine.run_closed(jax.make_jaxpr(program)(*shapes), inputs)


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
        # Under vmap the condition has axes, which are the first axes of the carried values.
        carry = [np.where(_aligned(going, after), after, before) for after, before in zip(new, carry, strict=True)]


def _aligned(condition: np.ndarray, array: np.ndarray) -> np.ndarray:
    return condition.reshape(condition.shape + (1,) * (array.ndim - condition.ndim))


def _branch(machine: Machine, equation: Any, index: np.ndarray, *inputs: np.ndarray) -> list[np.ndarray]:
    branches = equation.params["branches"]
    return machine.run_closed(branches[int(np.clip(index, 0, len(branches) - 1))], inputs)


def _platform(machine: Machine, equation: Any) -> np.ndarray:
    """Return the index of the branch for this machine: the first that names its platform, or names none."""
    backend = jax.default_backend()
    for k, names in enumerate(equation.params["platforms"]):
        if names is None or backend in names:
            return np.asarray(k, equation.outvars[0].aval.dtype)
    return np.asarray(len(equation.params["platforms"]) - 1, equation.outvars[0].aval.dtype)


NEUTRAL: dict[str, Rule] = {
    **dict.fromkeys(("jit", "remat2"), _call("jaxpr")),
    **dict.fromkeys(("closed_call", "eval_jaxpr", "custom_jvp_call", "custom_vjp_call"), _call("call_jaxpr")),
    "custom_linear_solve": _solve,
    "call_hi_primitive": _expanded,
    "scan": _scan,
    "while": _while,
    "cond": _branch,
    "platform_index": _platform,
}
