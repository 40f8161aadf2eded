"""Which views an epoch reads: in order, in random order without repeats, several at once, some."""

from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdrec.errors import InvalidInputError
from kdrec.student.view_schedule import ViewOrder, ViewSchedule, choose_views


@given(
    st.integers(1, 30), st.integers(1, 9), st.integers(1, 30), st.integers(0, 2**64 - 1),
    st.sampled_from(["cycle", "random"]), st.integers(0, 200),
)  # fmt: skip
def test_an_epoch_reads_different_views_and_a_pass_none_twice(
    num_views: int, group: int, per_step: int, seed: int, order: ViewOrder, first: int
) -> None:
    per_step = min(per_step, num_views)
    schedule = ViewSchedule(
        tuple(range(5, 5 + num_views)),
        group,
        order=order,
        per_step=per_step,
        seed=seed,
    )
    steps = num_views // per_step
    begin = first * steps
    of_pass = [schedule.of_epoch(begin + step) for step in range(steps)]
    seen = [*chain(*of_pass)]
    assert len(seen) == len({*seen}) == steps * per_step
    assert {*seen} <= {*schedule.views}
    for epoch, views in enumerate(of_pass, start=begin):
        assert len(views) == per_step
        assert schedule.second(epoch) in schedule.views
        assert schedule.second(epoch) != views[0] or num_views == 1


def test_random_passes_differ_and_follow_from_the_seed() -> None:
    def passes(seed: int) -> list[tuple[int, ...]]:
        schedule = ViewSchedule(tuple(range(12)), 4, order="random", seed=seed)
        numbers = [schedule.of_epoch(epoch)[0] for epoch in range(36)]
        return [tuple(numbers[start : start + 12]) for start in (0, 12, 24)]

    assert len({*passes(0), *passes(1)}) == 6
    assert passes(1) == passes(1)
    assert all(sorted(numbers) == list(range(12)) for numbers in passes(0))


def test_a_random_pass_decodes_each_group_once() -> None:
    schedule = ViewSchedule(tuple(range(12)), 4, order="random", seed=2)
    groups = [schedule.of_epoch(epoch)[0] // 4 for epoch in range(12)]
    assert sum(a != b for a, b in pairwise(groups)) == 2


def test_cycle_is_the_order_that_it_always_was() -> None:
    schedule = ViewSchedule((0, 1, 2), 2)
    assert [schedule.of_epoch(epoch) for epoch in range(4)] == [(0,), (1,), (2,), (0,)]
    pairs = ViewSchedule((0, 1, 2), 2, per_step=2)
    assert [pairs.of_epoch(epoch) for epoch in range(3)] == [(0, 1), (2, 0), (1, 2)]


@pytest.mark.parametrize(
    ("views", "complaint"),
    [([], "at least one"), ([1, 1], "none twice"), ([0, 9], "from 0 to 7, got 9"),
     ([-1], "from 0 to 7, got -1"), ([0.5], "whole numbers"), (["1"], "whole numbers")],
)  # fmt: skip
def test_views_that_cannot_be_are_refused(views: list[int], complaint: str) -> None:
    with pytest.raises(InvalidInputError, match=complaint):
        choose_views(views, 8)
    assert choose_views((3, 1), 8) == (1, 3)


def test_a_schedule_that_cannot_be_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"views_per_step must be from 1 .* 2, got 3"):
        ViewSchedule((0, 1), 1, per_step=3)
    with pytest.raises(InvalidInputError, match="'cycle' or 'random', got 'shuffle'"):
        ViewSchedule((0, 1), 1, order="shuffle")  # type: ignore[arg-type]
