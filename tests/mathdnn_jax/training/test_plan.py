from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from mathdnn_jax.training.plan import Plan

plans = st.builds(
    Plan,
    per_epoch=st.integers(1, 12),
    epochs=st.integers(1, 12),
    every_epochs=st.none() | st.integers(1, 5),
    every_steps=st.none() | st.integers(1, 15),
    max_steps=st.integers(1, 40),
)


@given(plan=plans)
def test_dispatches_cover_the_run_once(plan: Plan) -> None:
    dispatches = list(plan.dispatches(0))
    assert dispatches[0][0] == 0
    assert dispatches[-1][1] == plan.steps
    assert all(first < stop for first, stop in dispatches)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(dispatches))


@given(plan=plans)
def test_the_host_gets_every_moment_it_wants(plan: Plan) -> None:
    stops = {stop for _, stop in plan.dispatches(0)}
    if plan.every_epochs is not None:
        every = plan.every_epochs * plan.per_epoch
        assert set(range(every, plan.steps + 1, every)) <= stops
    if plan.every_steps is not None:
        starts = range(0, plan.steps, plan.per_epoch)
        assert {
            start + k for start in starts for k in range(plan.every_steps, plan.per_epoch, plan.every_steps)
        } <= stops
    if plan.every_epochs is None and plan.every_steps is None:
        longest = max(plan.max_steps, plan.per_epoch)
        assert all(stop - first <= longest for first, stop in plan.dispatches(0))


@given(plan=plans, data=st.data())
def test_a_resumed_run_has_the_dispatches_of_the_whole_one(plan: Plan, data: st.DataObject) -> None:
    dispatches = list(plan.dispatches(0))
    k = data.draw(st.integers(0, len(dispatches)))
    position = dispatches[k][0] if k < len(dispatches) else plan.steps
    assert list(plan.dispatches(position)) == dispatches[k:]


def test_epochs_are_dispatched_together_if_nothing_happens_in_between() -> None:
    alone = Plan(per_epoch=10, epochs=7, every_epochs=None, every_steps=None, max_steps=35)
    assert list(alone.dispatches(0)) == [(0, 30), (30, 60), (60, 70)]
    watched = alone._replace(every_epochs=1)
    assert [stop for _, stop in watched.dispatches(0)] == [10, 20, 30, 40, 50, 60, 70]
    saved = alone._replace(every_epochs=2, every_steps=4)
    assert [stop for _, stop in saved.dispatches(0)][:6] == [4, 8, 10, 14, 18, 20]
