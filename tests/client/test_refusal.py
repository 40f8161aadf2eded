"""When another process writes: refused at once, or once a dead one's lease would have run out."""

from pathlib import Path

import pytest

from kdrec.client.refusal import WriterRefusal
from kdrec.errors import ConflictError
from kdrec.store import LeaseTimes, LocalStorage
from tests.memory import MemoryStorage


class LeasedPlace(MemoryStorage):
    """Its lock outlives a process."""

    stale_after = LeaseTimes().seconds


def test_a_folder_is_refused_at_once(tmp_path: Path) -> None:
    refuse = WriterRefusal(LocalStorage(tmp_path), where="r.zarr", clock=lambda: 0.0)
    with pytest.raises(ConflictError, match=r"r\.zarr is being written by another process"):
        refuse()


def test_a_lease_is_given_the_time_in_which_it_would_be_taken_over() -> None:
    now = 100.0
    refuse = WriterRefusal(LeasedPlace(), where="s3://b/r.zarr", clock=lambda: now)
    for now in (100.0, 100 + 1.9 * LeasedPlace.stale_after):  # noqa: B007 - the clock reads it
        refuse()
    now = 100 + 2 * LeasedPlace.stale_after
    with pytest.raises(ConflictError, match="let it finish"):
        refuse()
