"""The lock of an object store, over an object in memory and a clock that the test moves."""

from collections.abc import Callable

import pytest

from kdrec.errors import ConflictError, StorageError
from kdrec.store.lease import Lease, LeaseTimes, Stored


class ObjectInMemory:
    """One object under conditions; answers may get lost, and conditions be ignored."""

    def __init__(self, *, ignores_conditions: bool = False) -> None:
        self.stored: Stored | None = None
        self.unreachable = False
        self.loses_answers = False
        self._ignores = ignores_conditions
        self._version = 0

    def read(self) -> Stored | None:
        self._reach()
        return self.stored

    def create(self, data: bytes) -> str | None:
        self._reach()
        return self._put(data) if self.stored is None or self._ignores else None

    def replace(self, data: bytes, tag: str) -> str | None:
        self._reach()
        return self._put(data) if self.stored is not None and self.stored.tag == tag else None

    def delete(self) -> None:
        self._reach()
        self.stored = None

    def _put(self, data: bytes) -> str | None:
        self._version += 1
        self.stored = Stored(data, str(self._version))
        return None if self.loses_answers else self.stored.tag

    def _reach(self) -> None:
        if self.unreachable:
            raise StorageError("the store cannot be reached")


class Clock:
    """Stands still but for what a test adds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def place() -> ObjectInMemory:
    return ObjectInMemory()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lease(place: ObjectInMemory, clock: Clock) -> Callable[[], Lease]:
    times = LeaseTimes(seconds=30, poll=0.001, clock=clock)
    return lambda: Lease(place, where="s3://bucket/r.zarr", times=times)


def never() -> None:
    raise AssertionError("nobody holds it")


def test_a_free_lease_is_held_and_given_back(
    place: ObjectInMemory, lease: Callable[[], Lease]
) -> None:
    mine = lease()
    with mine.held(while_waiting=never) as took_over:
        assert not took_over
        assert place.stored is not None
        mine.check()
    assert place.stored is None


def test_who_waits_gets_it_when_the_holder_gives_it_back(
    place: ObjectInMemory, lease: Callable[[], Lease]
) -> None:
    waits: list[int] = []

    def free_after_three_looks() -> None:
        waits.append(1)
        if len(waits) == 3:
            place.delete()

    place.create(b"another")
    with lease().held(while_waiting=free_after_three_looks) as took_over:
        assert not took_over
    assert len(waits) == 3


def test_a_silent_lease_is_taken_over_and_says_so(
    place: ObjectInMemory, clock: Clock, lease: Callable[[], Lease]
) -> None:
    place.create(b"a dead one")

    def pass_time() -> None:
        clock.now += 7

    with lease().held(while_waiting=pass_time) as took_over:
        assert took_over
        assert clock.now > 30


def test_a_lease_that_is_renewed_is_never_taken_over(
    place: ObjectInMemory, clock: Clock, lease: Callable[[], Lease]
) -> None:
    place.create(b"alive")

    def renew() -> None:
        clock.now += 20
        assert place.stored is not None
        place.replace(f"{clock.now}".encode(), place.stored.tag)
        if clock.now > 200:
            raise ConflictError("enough waiting")

    with pytest.raises(ConflictError, match="enough"), lease().held(while_waiting=renew):
        raise AssertionError("taken from a living holder")


def test_a_holder_that_was_silent_stops_before_another_may_begin(
    clock: Clock, lease: Callable[[], Lease]
) -> None:
    mine = lease()
    with mine.held(while_waiting=never):
        clock.now += 29
        with pytest.raises(ConflictError, match=r"lost the lock of s3://bucket/r\.zarr"):
            mine.check()
        clock.now -= 29
        with pytest.raises(ConflictError):
            mine.check()  # for good


def test_a_lease_taken_by_another_is_not_given_back(
    place: ObjectInMemory, lease: Callable[[], Lease]
) -> None:
    with lease().held(while_waiting=never):
        place.stored = Stored(b"another took it", "99")
    assert place.stored is not None


def test_a_store_that_ignores_conditions_is_refused(clock: Clock) -> None:
    times = LeaseTimes(seconds=30, poll=0.001, clock=clock)
    place = ObjectInMemory(ignores_conditions=True)
    lease = Lease(place, where="s3://bucket/r.zarr", times=times)
    with pytest.raises(StorageError, match="ignores conditional writes"):
        lease.held(while_waiting=never).__enter__()
    assert place.stored is None


def test_a_write_whose_answer_was_lost_counts(
    place: ObjectInMemory, lease: Callable[[], Lease]
) -> None:
    place.loses_answers = True
    mine = lease()
    with mine.held(while_waiting=never):
        mine.check()
    assert place.stored is None


def test_an_unreachable_store_is_an_error_and_never_a_lock(
    place: ObjectInMemory, lease: Callable[[], Lease]
) -> None:
    place.unreachable = True
    with pytest.raises(StorageError):
        lease().held(while_waiting=never).__enter__()
