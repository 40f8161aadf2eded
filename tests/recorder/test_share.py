"""Which process this is, and which blocks it begins with."""

from pathlib import Path

import pytest

from kdrec.errors import InvalidInputError
from kdrec.recorder import Share, default_threads, device_of_share, find_share
from kdrec.recorder.block_queue import BlockQueue
from kdrec.store import BlockGrid, LocalStorage

GRID = BlockGrid(views=4, samples=6, group=2, block_samples=2)  # 2 x 3 blocks


def test_a_part_wins_over_the_launcher_and_counts_from_one() -> None:
    assert find_share("3/16", {"RANK": "0", "WORLD_SIZE": "2"}) == Share(2, 16)
    assert str(Share(2, 16)) == "3/16"


def test_torchrun_and_srun_are_understood() -> None:
    torchrun = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}
    assert find_share(None, torchrun) == Share(5, 8, local=1)
    srun = {"SLURM_PROCID": "3", "SLURM_NTASKS": "4", "SLURM_LOCALID": "3"}
    assert find_share(None, srun) == Share(3, 4, local=3)
    assert find_share(None, torchrun | srun) == Share(5, 8, local=1)
    assert find_share(None, {"RANK": "5"}) == Share()


@pytest.mark.parametrize("part", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3", "", "1/3/5", " 1/3"])
def test_a_part_that_is_none_says_what_one_is(part: str) -> None:
    with pytest.raises(InvalidInputError, match="K/N with K from 1 to N"):
        find_share(part, {})


@pytest.mark.parametrize("count", ["0", "", "two", "-1"])
def test_a_launcher_that_says_nonsense_is_refused(count: str) -> None:
    with pytest.raises(InvalidInputError, match=f"RANK=0, WORLD_SIZE={count}"):
        find_share(None, {"RANK": "0", "WORLD_SIZE": count})


def test_each_process_of_a_machine_has_its_own_gpu() -> None:
    share = Share(5, 8, local=1)
    assert device_of_share("cuda", share, num_gpus=4) == "cuda:1"
    assert device_of_share("cuda", share, num_gpus=1) == "cuda"  # srun shows each only its own
    assert device_of_share("cuda:3", share, num_gpus=4) == "cuda:3"
    assert device_of_share("cpu", share, num_gpus=0) == "cpu"


def test_torchruns_single_thread_is_not_taken_for_the_users_wish() -> None:
    told = {"OMP_NUM_THREADS": "1", "TORCHELASTIC_RUN_ID": "x"}
    alone = default_threads({})
    assert default_threads({"OMP_NUM_THREADS": "1"}) == alone
    assert default_threads(told) >= 1
    assert default_threads(told | {"OMP_NUM_THREADS": "4"}) == alone


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9])
def test_every_process_goes_through_all_blocks_its_own_first(tmp_path: Path, count: int) -> None:
    own: list[str] = []
    for index in range(count):
        place = LocalStorage(tmp_path / "r.zarr")
        queue = BlockQueue(
            GRID, Share(index, count), place=place, committed=frozenset, wait=lambda: None
        )
        order = [block.name for block in queue.order()]
        assert sorted(order) == sorted(block.name for block in GRID)
        own += order[: len(range(index, len(GRID), count))]
    assert sorted(own) == sorted(block.name for block in GRID)


class Others:
    """What other processes do: commit blocks while this one waits."""

    def __init__(self, *, holding: list[str]) -> None:
        self.done: set[str] = set()
        self.holding = holding

    def committed(self) -> frozenset[str]:
        return frozenset(self.done)

    def commit_one(self) -> None:
        self.done.add(self.holding.pop())


def test_blocks_in_other_hands_are_left_alone_and_waited_for(tmp_path: Path) -> None:
    place = LocalStorage(tmp_path / "r.zarr")
    names = ["g00000-p00000", "g00001-p00002"]
    held = {name: place.claim(name) for name in names}
    assert all(held.values())
    others = Others(holding=list(names))
    queue = BlockQueue(
        GRID, Share(), place=place, committed=others.committed, wait=others.commit_one
    )
    got = []
    for claimed in queue:
        got.append(claimed.block.name)
        others.done.add(claimed.block.name)
        claimed.claim.release()
    assert sorted([*got, *names]) == sorted(block.name for block in GRID)
    assert queue.records_of_others == 2 * 4


def test_a_block_that_was_given_up_is_claimed_and_known_as_such(tmp_path: Path) -> None:
    place = LocalStorage(tmp_path / "r.zarr")
    first = place.claim("g00000-p00000")
    assert first is not None
    assert not first.took_over
    assert place.claim("g00000-p00000") is None
    first.release()
    first.release()  # once more is nothing
    assert not first.is_mine()
    (tmp_path / ".r.zarr.claims" / "g00000-p00000").touch()  # as `kill -9` leaves it
    second = place.claim("g00000-p00000")
    assert second is not None
    assert second.took_over
    second.release()
    place.remove_claims()
    place.remove_claims()
    assert list(tmp_path.iterdir()) == []
