"""Writers, crashes, resume, damage, repair, conversion and readers, in any order, against a dict.

Shape letters: V views, S samples, C classes, K samples that are kept.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kdrec.client import ConvertRequest, Recording, convert, repair
from kdrec.errors import ConflictError, IncompleteError, IntegrityError, NotFoundError, StorageError
from kdrec.samples import make_shapes
from kdrec.store import (
    HEADER_KEY,
    ROOT_KEY,
    SEAL_KEY,
    BlockGrid,
    RecordingReader,
    beyond_bound,
    check_same_plan,
    find_manifest,
    plan_encoding,
)
from kdrec.testing import FaultyStorage, ProcessKilled, make_logits, make_plan, make_recording
from tests.memory import MemoryStorage, OwnPlace

SAMPLES = make_shapes(9, seed=0, num_points=8)
PLAN = make_plan(SAMPLES, views=3, group=2, block_samples=4)
OTHER_PLAN = make_plan(SAMPLES, views=3, group=2, block_samples=4, seed=1)
LOGITS_VSC = make_logits(PLAN, 12)
BLOCKS = list(BlockGrid.of(PLAN))
UNUSED = Path("unused")
MARKER = "ledger/beginning.json"
REQUESTS = (
    ConvertRequest(views=range(1, 3), samples_S=np.array([7, 2, 3, 8]), group=1),
    ConvertRequest(encoding=plan_encoding("half"), block_samples=8),
    ConvertRequest(samples_S=np.array([0]), encoding=plan_encoding("compact", max_error=0.05)),
)


class FaultyPlace(OwnPlace, FaultyStorage):
    """A place whose n-th write goes wrong."""


def finished() -> dict[str, bytes]:
    storage = MemoryStorage()
    make_recording(UNUSED, SAMPLES, plan=PLAN, storage=storage)
    return storage.files


class RecordingMachine(RuleBasedStateMachine):
    """The storage is what a program sees; the dicts are what must be true of it.

    Attributes:
        whole: Files of an undisturbed recording.
        damaged: Good bytes of the files that were damaged or lost, by key.
        converted: Files of the first conversion by each request.
    """

    whole: dict[str, bytes]

    @initialize()
    def nothing(self) -> None:
        self.storage = MemoryStorage()
        self.damaged: dict[str, bytes] = {}
        self.converted: dict[int, dict[str, bytes]] = {}

    def missing(self) -> list[int]:
        held = self.storage.files
        return [n for n, block in enumerate(BLOCKS) if block.ledger_key not in held]

    @precondition(lambda self: not self.damaged)
    @rule(blocks=st.sampled_from([0, 1, 2, None]))
    def a_recorder_works(self, blocks: int | None) -> None:
        before = len(self.missing())
        make_recording(UNUSED, SAMPLES, plan=PLAN, storage=self.storage, blocks=blocks)
        recorded = before if blocks is None else min(blocks, before)
        assert len(self.missing()) == before - recorded

    @precondition(lambda self: not self.damaged)
    @rule(at=st.integers(0, 60), kind=st.sampled_from(["kill_at", "fail_at"]))
    def a_recorder_dies(self, at: int, kind: str) -> None:
        faulty = FaultyStorage(self.storage, **{kind: at})
        try:
            make_recording(UNUSED, SAMPLES, plan=PLAN, storage=faulty)
        except (ProcessKilled, StorageError):
            return
        assert faulty.writes <= at

    @precondition(lambda self: "zarr.json" in self.storage.files and not self.damaged)
    @rule()
    def a_recorder_of_another_plan_is_refused(self) -> None:
        before = dict(self.storage.files)
        manifest = find_manifest(self.storage, where="r.zarr")
        assert manifest is not None
        with pytest.raises(ConflictError, match="seed: 0 recorded, 1 now"):
            check_same_plan(manifest.plan, OTHER_PLAN, where="r.zarr")
        assert self.storage.files == before

    @precondition(lambda self: self.storage.files and not self.damaged)
    @rule(data=st.data(), bit=st.integers(0))
    def a_bit_flips(self, data: st.DataObject, bit: int) -> None:
        key = self.some_key(data)
        changed = bytearray(self.storage.files[key])
        place = bit % (8 * len(changed))
        changed[place // 8] ^= 1 << place % 8
        self.damaged[key] = self.storage.files[key]
        self.storage.files[key] = bytes(changed)

    @precondition(lambda self: self.storage.files and not self.damaged)
    @rule(data=st.data())
    def a_shard_is_lost(self, data: st.DataObject) -> None:
        key = self.some_key(data)
        if "/c/" in key:
            self.damaged[key] = self.storage.files.pop(key)

    def some_key(self, data: st.DataObject) -> str:
        """Of a file that a reader has to do with: not of a beginning, which nothing reads."""
        keys = sorted(self.storage.files)
        return data.draw(st.sampled_from(keys), label="key")

    @precondition(lambda self: self.damaged)
    @rule()
    def a_copy_brings_the_good_bytes_back(self) -> None:
        self.storage.files |= self.damaged
        self.damaged = {}

    @precondition(lambda self: self.storage.files)
    @rule(only_damaged=st.booleans(), at=st.none() | st.integers(0, 5))
    def a_copy_repairs(self, only_damaged: bool, at: int | None) -> None:
        """From a whole copy, maybe killed on the way and run again."""
        before, told = dict(self.storage.files), self.tells_which_it_is()
        source = MemoryStorage(self.whole)
        try:
            place = FaultyPlace(self.storage, kill_at=at)
            list(repair("r.zarr", source, only_damaged=only_damaged, place=place))
        except ProcessKilled:
            list(repair("r.zarr", source, only_damaged=only_damaged, place=self.storage))
        except ConflictError:
            assert not told
            assert self.storage.files == before
            return
        assert told
        self.damaged = {}
        kept = self.storage.files.keys() - {MARKER}
        assert kept == self.whole.keys() if not only_damaged else kept >= before.keys() - {MARKER}

    def tells_which_it_is(self) -> bool:
        """Whether anything is intact that says which recording this is."""
        documents = (HEADER_KEY, ROOT_KEY, SEAL_KEY, *(block.ledger_key for block in BLOCKS))
        return any(k in self.storage.files and k not in self.damaged for k in documents)

    @precondition(lambda self: SEAL_KEY in self.storage.files and not self.damaged)
    @rule(request=st.sampled_from(REQUESTS), at=st.none() | st.integers(0, 30))
    def it_is_converted(self, request: ConvertRequest, at: int | None) -> None:
        """All of it, or refused; maybe killed on the way and run again, to the same bytes."""
        source, made = Recording(self.storage, where="r.zarr"), MemoryStorage()
        try:
            try:
                list(convert(source, "c.zarr", request, place=FaultyPlace(made, kill_at=at)))
            except ProcessKilled:
                list(convert(source, "c.zarr", request, place=made))
        except IncompleteError:
            assert self.missing()
            return
        assert made.files == self.converted.setdefault(REQUESTS.index(request), made.files)
        rows_K = slice(None) if request.samples_S is None else np.unique(request.samples_S)
        reader = RecordingReader(made, where="c.zarr")
        for view, recorded in enumerate(request.views or range(3)):
            logits_KC = reader.read(view)[1]
            expected_KC = LOGITS_VSC[recorded, rows_K]
            assert not beyond_bound(expected_KC, logits_KC, reader.manifest.bounds).any()

    @precondition(lambda self: SEAL_KEY in self.storage.files and not self.damaged)
    @rule(number=st.integers(0, len(BLOCKS) - 1))
    def a_block_is_dropped_from_a_copy(self, number: int) -> None:
        block = BLOCKS[number]
        for key in (block.ledger_key, block.shard_key("logits"), block.shard_key("params")):
            self.storage.files.pop(key, None)

    @rule(view=st.integers(0, 2), sample=st.integers(0, 8))
    def a_reader_reads(self, view: int, sample: int) -> None:
        try:
            reader = RecordingReader(self.storage, where="r.zarr")
            logits = reader.read(view, [sample])[1]
        except NotFoundError:
            assert "zarr.json" not in self.storage.files
        except IncompleteError:
            assert self.block_of(view, sample) in self.missing()
        except IntegrityError:
            assert self.damaged
        else:
            assert self.block_of(view, sample) not in self.missing()
            np.testing.assert_array_equal(logits[0], LOGITS_VSC[view, sample])

    @staticmethod
    def block_of(view: int, sample: int) -> int:
        return next(n for n, b in enumerate(BLOCKS) if view in b.views and sample in b.samples)

    @invariant()
    def what_is_there_is_of_the_whole(self) -> None:
        """Every file, once written and not damaged, has the bytes of an undisturbed recording."""
        for key, data in self.storage.files.items():
            if key not in self.damaged and key != MARKER:
                assert data == self.whole[key], key

    @invariant()
    def what_a_ledger_lists_is_there(self) -> None:
        held = self.storage.files.keys() | self.damaged.keys()
        for block in BLOCKS:
            if block.ledger_key in held:
                assert {block.shard_key("logits"), block.shard_key("params")} <= held


@pytest.fixture(scope="module")
def machine() -> Iterator[type[RecordingMachine]]:
    RecordingMachine.whole = finished()
    yield RecordingMachine
    del RecordingMachine.whole


def test_any_order_of_writers_crashes_damage_and_readers(machine: type[RecordingMachine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
