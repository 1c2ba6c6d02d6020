"""Every array primitive that high precision supports, compared with JAX in float64, and what it cannot follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.extend.core import primitives

from mathdnn_jax.testing.high_precision import ordering, solves, structural, sums
from mathdnn_jax.testing.high_precision.interpreter import machine
from mathdnn_jax.testing.high_precision.numbers import UnresolvedError

from .compare import DIGITS, agree


@pytest.fixture(autouse=True)
def _in_float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


A, B = (np.random.default_rng(seed).normal(size=(4, 4)) for seed in (1, 2))
WIDE, POSITIVE_DEFINITE = np.random.default_rng(3).normal(size=(2, 3, 4)), A @ A.T + np.eye(4)
LINE = np.array([3.0, -1.0, 2.0, -1.0, 5.0])
INDEX = np.array([2, 0, 1])


def strided(x: Any, kernel: Any) -> Any:
    return conv(x, kernel, window_strides=(2, 1), padding=((1, 2), (0, 3)), rhs_dilation=(2, 1))


def called_back(x: Any) -> Any:
    return jax.pure_callback(np.sin, jax.ShapeDtypeStruct((), np.float64), x)


def anything() -> Any:
    """A number that nobody reads, as in the gradient of a diagonal."""
    return primitives.empty2_p.bind(dtype=np.dtype(np.float64), memory_space=jax.memory.Space.Device)


def conv(x: Any, kernel: Any, **options: Any) -> Any:
    return lax.conv_general_dilated(x, kernel, **{"window_strides": (1, 1), "padding": "SAME", **options})


IMAGE, KERNEL = np.random.default_rng(4).normal(size=(2, 4, 5, 6)), np.random.default_rng(5).normal(size=(6, 4, 2, 3))
ROWS = lax.GatherDimensionNumbers(offset_dims=(1,), collapsed_slice_dims=(0,), start_index_map=(0,))

OTHERS: dict[str, list[tuple[Callable[..., Any], tuple[Any, ...]]]] = {
    "reshape": [(lambda x: x.reshape(2, 8), (A,))],
    "transpose": [(lambda x: jnp.transpose(x, (2, 0, 1)), (WIDE,))],
    "broadcast_in_dim": [(lambda x: jnp.broadcast_to(x[:, None], (5, 3)), (LINE,)), (lambda: jnp.ones((2, 3)), ())],
    "squeeze": [(lambda x: lax.squeeze(lax.slice(x, (0, 0), (4, 1)), (1,)), (A,))],
    "slice": [(lambda x: x[1:4:2, ::3], (A,))],
    "rev": [(lambda x: lax.rev(x, (0, 2)), (WIDE,))],
    "concatenate": [(lambda x, y: jnp.concatenate([x, y], 1), (A, B))],
    "split": [(lambda x: lax.split(x, (1, 3), 1), (A,))],
    "stack": [(lambda x, y: lax.stack_p.bind(x, y, axis=1), (A, B))] if hasattr(lax, "stack_p") else [],
    "unstack": [(lambda x: lax.unstack_p.bind(x, axis=1), (A,))] if hasattr(lax, "unstack_p") else [],
    "tile": [(lambda x: jnp.tile(x, (2, 3)), (A,))],
    "pad": [
        (lambda x: lax.pad(x, 0.5, ((1, 2, 0), (0, 1, 2))), (A,)),
        (lambda x: lax.pad(x, 0.5, ((-1, 2, 1), (3, -2, 0))), (A,)),
    ],
    "iota": [(lambda: lax.broadcasted_iota(np.float64, (2, 3), 1), ()), (lambda: lax.iota(np.int32, 4), ())],
    "select_n": [
        (lambda x: jnp.where(x > 0, x, 2 * x), (A,)),
        (lambda x: lax.select_n(np.array([0, 2, 1, 0, 2], np.int32), x, 2 * x, 3 * x), (LINE,)),
        (lambda x: lax.select_n(x[0] > 0, x, 2 * x), (LINE,)),
    ],
    "dynamic_slice": [
        (lambda x, i: lax.dynamic_slice(x, (i, -i), (2, 3)), (A, 3)),
        (lambda x: jnp.sort(jnp.stack([lax.dynamic_slice_p.bind(x.sum(), slice_sizes=()), x[0]])), (LINE,)),
    ],
    "dynamic_update_slice": [(lambda x, y, i: lax.dynamic_update_slice(x, y[:2, :2], (i, 1)), (A, B, 3))],
    "gather": [
        (lambda x, i: x[i], (A, INDEX)),
        (lambda x, i: x[:, i, None], (A, INDEX)),
        (lambda x, i: x[i, i[::-1]], (A, INDEX)),
        (lambda x, i: jnp.take(x, i, axis=-1, mode="clip"), (WIDE, np.array([7, -3, 2]))),
        (lambda x: jnp.take_along_axis(x, jnp.argsort(x, -1), -1), (WIDE,)),
        (lambda x, i: jax.vmap(lambda row, k: row[k])(x[:3], i), (A, INDEX)),
        (lambda x, i: lax.gather(x, i[:, None], ROWS, (1, 2), mode="clip"), (A, INDEX)),
    ],
    "scatter": [
        (lambda x, i: x.at[i].set(2 * x[:3]), (A, INDEX)),
        (lambda x, i: x.at[i, 1].set(7.0), (A, INDEX)),
        (lambda x: x.at[np.array([1, 9])].set(3.0), (LINE,)),
        (lambda x, i: jax.vmap(lambda row, k: row.at[k].set(0.5))(x[:3], i), (A, INDEX)),
        (lambda x, i: x.at[i, 1].apply(lambda entry: jnp.exp(entry) + 0.1), (A, INDEX)),
        (lambda x: x.at[1].apply(lambda entry: entry * entry), (np.arange(3, 7),)),
    ],
    "scatter-add": [
        (lambda x: x.at[np.array([1, 1, 3])].add(0.5), (LINE,)),
        (lambda x: jax.jacrev(lambda y: y[np.array([0, 0, 2])])(x), (LINE,)),
    ],
    "scatter-sub": [(lambda x: x.at[np.array([1, 1, 3])].subtract(0.5), (LINE,))],
    "scatter-mul": [(lambda x: x.at[np.array([1, 1, 3])].multiply(0.5), (LINE,))],
    "scatter-min": [(lambda x: x.at[np.array([1, 1, 0])].min(0.5), (LINE,))],
    "scatter-max": [(lambda x: x.at[np.array([1, 1, 0])].max(0.5), (LINE,))],
    "copy": [(lambda x: lax.copy_p.bind(x), (LINE,))],
    "stop_gradient": [(lax.stop_gradient, (LINE,))],
    "optimization_barrier": [(lax.optimization_barrier, (LINE,))],
    "name": [(lambda x: checkpoint_name(x, "here"), (LINE,))],
    "sharding_constraint": [],
    "reduce_precision": [(lambda x: lax.reduce_precision(x, 8, 7), (LINE,))],
    "debug_callback": [],
    "empty": [(lambda: lax.empty((2, 3), np.float64), ())] if hasattr(lax, "empty") else [],
    "empty2": [(anything, ())] if hasattr(primitives, "empty2_p") else [],
    "debug_print": [(lambda x: (jax.debug.print("{}", x), 2 * x)[1], (LINE,))],
    "reduce_max": [(lambda x: x.max((0, 2)), (WIDE,))],
    "reduce_min": [(lambda x: x.min((0, 2)), (WIDE,))],
    "cummax": [(lambda x: (lax.cummax(x, 1), lax.cummax(x, 0, reverse=True)), (A,))],
    "cummin": [(lambda x: (lax.cummin(x, 1), lax.cummin(x, 0, reverse=True)), (A,))],
    "argmax": [(lambda x: (jnp.argmax(x, 1), jnp.argmax(x, 0)), (A,)), (jnp.argmax, (-abs(LINE),))],
    "argmin": [(lambda x: (jnp.argmin(x, 1), jnp.argmin(x, 0)), (A,)), (jnp.argmin, (LINE,))],
    "sort": [
        (lambda x: (jnp.sort(x, 0), jnp.argsort(x, 1)), (A,)),
        (lambda x: lax.sort((x, x[::-1]), num_keys=2), (LINE,)),
    ],
    "top_k": [(lambda x: lax.top_k(x, 3), (LINE,)), (lambda x: lax.top_k(x, 2), (A,))],
    "reduce_sum": [(lambda x: x.sum((0, 2)), (WIDE,)), (jnp.sum, (WIDE,))],
    "reduce_prod": [(lambda x: x.prod((0, 2)), (WIDE,)), (jnp.prod, (WIDE,))],
    "cumsum": [(lambda x: (jnp.cumsum(x, 1), lax.cumsum(x, 0, reverse=True)), (A,))],
    "cumprod": [(lambda x: (jnp.cumprod(x, 1), lax.cumprod(x, 0, reverse=True)), (A,))],
    "cumlogsumexp": [(lambda x: (lax.cumlogsumexp(x, 1), lax.cumlogsumexp(x, 0, reverse=True)), (A,))],
    "dot_general": [
        (jnp.matmul, (A, B)),
        (jnp.vdot, (LINE, LINE)),
        (lambda x, y: jnp.einsum("bij,bkj->kbi", x, y), (WIDE, WIDE)),
        (lambda x, y: jnp.einsum("ijk,lkj->il", x, y), (WIDE, np.swapaxes(WIDE, 1, 2))),
        (lambda x: jnp.einsum("i,j->ij", x, x), (LINE,)),
        (lambda x: x[:, :0] @ x[:0], (A,)),
    ],
    "conv_general_dilated": [
        (conv, (IMAGE, KERNEL)),
        (strided, (IMAGE, KERNEL)),
        (lambda x, k: conv(x, k, padding=((1, 1), (2, 2)), lhs_dilation=(2, 3)), (IMAGE, KERNEL)),
        (lambda x, k: conv(x, k[:, :2], feature_group_count=2), (IMAGE, KERNEL)),
        (lambda x, k: conv(x, k, batch_group_count=2), (IMAGE, KERNEL)),
        (
            lambda x, k: conv(x, k, dimension_numbers=("NHWC", "HWIO", "NHWC")),
            (np.moveaxis(IMAGE, 1, -1), np.transpose(KERNEL, (2, 3, 1, 0))),
        ),
    ],
    "lu": [
        (lax.linalg.lu, (A,)),
        (lax.linalg.lu, (np.stack([A, B]),)),
        (jnp.linalg.slogdet, (A,)),
        (jnp.linalg.det, (B,)),
        (jnp.linalg.inv, (A,)),
        (jnp.linalg.solve, (A, B)),
    ],
    "triangular_solve": [
        (
            lambda a, b, k=k: lax.linalg.triangular_solve(
                a, b, left_side=bool(k & 1), lower=bool(k & 2), transpose_a=bool(k & 4), unit_diagonal=bool(k & 8)
            ),
            (np.stack([A, B]), np.stack([B, A])),
        )
        for k in range(16)
    ],
    "cholesky": [
        (jnp.linalg.cholesky, (POSITIVE_DEFINITE,)),
        (jnp.linalg.cholesky, (np.stack([A @ A.T, np.diag([4.0, 1.0, -1.0, 9.0])]),)),
        (jax.jacfwd(jnp.linalg.cholesky), (POSITIVE_DEFINITE,)),
    ],
    "qr": [
        (jnp.linalg.qr, (A,)),
        (lambda a: jnp.linalg.qr(a, mode="complete"), (A[:, :2],)),
        (jnp.linalg.qr, (WIDE,)),
        (jax.jacfwd(lambda a: jnp.linalg.qr(a)[0]), (A,)),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "function", "arguments"),
    [
        pytest.param(name, function, arguments, id=f"{name} {k}")
        for name, rows in OTHERS.items()
        for k, (function, arguments) in enumerate(rows)
    ],
)
def test_other_primitives(name: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    assert name in agree(function, *arguments, rtol=1e-12)


def test_all_rules_are_tried() -> None:
    others = {**structural.NEUTRAL, **structural.REAL, **ordering.NEUTRAL, **sums.REAL, **solves.REAL}
    assert set(OTHERS) == set(others)


@pytest.mark.parametrize(
    ("function", "x", "said"),
    [
        (called_back, 0.5, "'pure_callback' is not supported"),
        (lambda x: lax.nextafter(x, 1.0), 0.5, "'nextafter' is not supported"),
        (lambda x: lax.complex(x, x).real, 0.5, "complex128"),
        (lambda x: jax.random.uniform(jax.random.key(0)) * x, 0.5, "key"),
        (lambda x: lax.exp(lax.exp(x)), 40.0, "too large or too small"),
        (lambda x: lax.sin(lax.exp(x)), 5000.0, "too large"),
        (lambda x: lax.sort(jnp.stack([x / x, x])), 0.0, "NaN is compared"),
        (lambda x: (1 / x).astype(np.int32), 0.0, "not finite"),
        (lambda x: x.astype(np.int32), 1e12, "too large"),
        (lambda x: jnp.stack([x, x]).at[np.array([5])].get(mode="fill"), 1.0, "outside"),
        (lambda x: lax.fori_loop(0, 10**9, lambda _, y: y + 1, x), 0.0, "too long"),
        (lambda x: lax.while_loop(lambda y: y > 0, lambda y: y + 1, x), 1.0, "too long"),
        (lambda x: lax.linalg.qr(x * jnp.eye(2), pivoting=True)[0], 1.0, "QR with pivoting"),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_reported(function: Callable[..., Any], x: float, said: str) -> None:
    program = jax.make_jaxpr(function)(x)
    with pytest.raises(UnresolvedError, match=said):
        machine(DIGITS, 1e5).start(program, [np.asarray(x)])
