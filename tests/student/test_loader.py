"""The loader that says where it is: any process goes on from there, with any number of others."""

from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdrec.client import open_recording
from kdrec.errors import ConflictError, InvalidInputError
from kdrec.student import RecordedLoader, RecordedViews
from kdrec.testing import make_recording
from tests.student.recordings import NUM_SAMPLES, record


class Numbers:
    """A source whose batches are the numbers asked for."""

    description: Any = None

    def __init__(self, num_samples: int) -> None:
        self._num_samples = num_samples
        self.epoch = 0

    def __len__(self) -> int:
        return self._num_samples

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def batch(self, indices: Any) -> Any:
        return indices.tolist()


def loaders(num_samples: int, batch_size: int, ranks: int, seed: int = 3) -> list[RecordedLoader]:
    return [
        RecordedLoader(Numbers(num_samples), batch_size, seed=seed, rank=rank, num_processes=ranks)
        for rank in range(ranks)
    ]


def interleaved(shares: Sequence[Any]) -> list[int]:
    """The whole batch of which each process has every P-th sample."""
    rows = zip_longest(*shares)
    return [number for number in chain.from_iterable(rows) if number is not None]


def steps(processes: list[RecordedLoader], most: int | None = None) -> list[list[int]]:
    """The whole batches of the epoch; most of them, and the loaders stay where they are."""
    running = [iter(loader) for loader in processes]
    found: list[list[int]] = []
    while most is None or len(found) < most:
        shares = [next(stream, None) for stream in running]
        if shares[0] is None:
            assert shares == [None] * len(shares)
            break
        assert None not in shares
        found.append(interleaved(shares))
    return found


@given(
    st.integers(1, 70), st.integers(8, 20), st.integers(3, 20), st.integers(0, 9), st.integers(0, 4)
)
def test_with_fewer_processes_the_samples_come_in_the_same_order(
    num_samples: int, batch_size: int, later_size: int, taken: int, epoch: int
) -> None:
    eight, three = loaders(num_samples, batch_size, 8), loaders(num_samples, later_size, 3)
    for loader in eight:
        loader.set_epoch(epoch)
    before = steps(eight, taken)
    states = [loader.state_dict() for loader in eight]
    assert all(state == states[0] for state in states)
    for loader in three:
        loader.load_state_dict(states[0])
        loader.set_epoch(loader.epoch)
    (alone,) = loaders(num_samples, num_samples, 1)
    alone.set_epoch(epoch)
    (order,) = steps([alone])
    assert [*chain(*before), *chain(*steps(three))] == order
    assert sorted(order) == list(range(num_samples))


def test_a_loaded_state_holds_for_its_epoch_alone_and_once() -> None:
    (loader,) = loaders(20, 6, 1)
    whole = steps([loader])
    steps([loader], 2)
    (other,) = loaders(20, 6, 1)
    other.load_state_dict(loader.state_dict())
    assert steps([other]) == whole[2:]
    assert steps([other]) == whole
    other.load_state_dict(loader.state_dict())
    other.set_epoch(1)
    assert len(steps([other])) == len(other) == 4


def test_what_is_left_after_the_last_batch_is_nothing_and_then_the_next_epoch() -> None:
    (loader,) = loaders(20, 6, 1)
    steps([loader])
    state = loader.state_dict()
    assert state == {"seed": 3, "num_samples": 20, "epoch": 0, "position": 20}
    (other,) = loaders(20, 6, 1)
    other.load_state_dict(state)
    assert steps([other]) == []
    other.set_epoch(1)
    assert len(steps([other])) == 4


def test_the_views_follow_the_epoch_of_the_loader() -> None:
    views = RecordedViews(record())
    loader = RecordedLoader(views, 16)
    loader.sampler.set_epoch(2)
    assert views.view == 2
    batches = list(loader)
    assert sum(len(batch.index) for batch in batches) == NUM_SAMPLES
    views.set_epoch(0)  # the loader's epoch counts
    assert all(torch.equal(a.points, b.points) for a, b in zip(batches, loader, strict=True))


@pytest.mark.parametrize(
    "state",
    [{}, {"epoch": 1}, {"seed": 3, "num_samples": 20, "epoch": -1, "position": 0},
     {"seed": 3, "num_samples": 20, "epoch": 0, "position": 1.5},
     {"seed": 3, "num_samples": 20, "epoch": 0, "position": float("nan")},
     {"seed": 3, "num_samples": 20, "epoch": 0, "position": 21}],
)  # fmt: skip
def test_what_is_no_state_is_refused(state: Any) -> None:
    (loader,) = loaders(20, 6, 1)
    with pytest.raises(InvalidInputError):
        loader.load_state_dict(state)
    assert len(steps([loader])) == 4


def test_a_state_of_another_order_or_other_data_is_refused() -> None:
    (loader,) = loaders(20, 6, 1)
    for other in (*loaders(20, 6, 1, seed=4), *loaders(21, 6, 1)):
        with pytest.raises(ConflictError, match=r"the state is of (seed 4|num_samples 21)"):
            loader.load_state_dict(other.state_dict())


def test_shares_that_cannot_be_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="rank must be from 0 to 1, got 2"):
        RecordedLoader(Numbers(9), 4, rank=2, num_processes=2)
    with pytest.raises(InvalidInputError, match=r"must be at least 3, .* got 2"):
        RecordedLoader(Numbers(9), 2, num_processes=3)
    with pytest.raises(InvalidInputError, match=r"must be at least 1, .* got 0"):
        RecordedLoader(Numbers(9), 0)


def test_the_process_of_the_loader_waits_and_not_each_of_its_workers(tmp_path: Path) -> None:
    make_recording(tmp_path / "run.zarr", blocks=3)  # the first two views
    said: list[str] = []

    def on_wait(message: str) -> None:
        said.append(message)
        make_recording(tmp_path / "run.zarr")

    recording = open_recording(tmp_path / "run.zarr", wait=60, on_wait=on_wait)
    loader = RecordedLoader(RecordedViews(recording), batch_size=8, num_workers=2)
    for epoch in (1, 2, 4):
        loader.set_epoch(epoch)
        assert sorted(s for batch in loader for s in batch.index.tolist()) == list(range(20))
    assert len(said) == 1
    assert "waiting for view 2 of" in said[0]
    assert "3 of 9 blocks are recorded; for 60 seconds at most" in said[0]
