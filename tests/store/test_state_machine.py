"""Writers, crashes, resume, damage, copies and readers, in any order, against a dict."""

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

from kdrec.errors import ConflictError, IncompleteError, IntegrityError, NotFoundError, StorageError
from kdrec.samples import make_shapes
from kdrec.store import SEAL_KEY, BlockGrid, RecordingReader, check_same_plan, find_manifest
from kdrec.testing import FaultyStorage, ProcessKilled, make_logits, make_plan, make_recording
from tests.memory import MemoryStorage

SAMPLES = make_shapes(9, seed=0, num_points=8)
PLAN = make_plan(SAMPLES, views=3, group=2, block_samples=4)
OTHER_PLAN = make_plan(SAMPLES, views=3, group=2, block_samples=4, seed=1)
LOGITS_VSC = make_logits(PLAN, 12)
BLOCKS = list(BlockGrid.of(PLAN))
UNUSED = Path("unused")


def finished() -> dict[str, bytes]:
    storage = MemoryStorage()
    make_recording(UNUSED, SAMPLES, plan=PLAN, storage=storage)
    return storage.files


class RecordingMachine(RuleBasedStateMachine):
    """The storage is what a program sees; the dicts are what must be true of it.

    Attributes:
        whole: Files of an undisturbed recording.
        damaged: Good bytes of the files that were damaged or lost, by key.
    """

    whole: dict[str, bytes]

    @initialize()
    def nothing(self) -> None:
        self.storage = MemoryStorage()
        self.damaged: dict[str, bytes] = {}

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
            if key not in self.damaged and key != "ledger/beginning.json":
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
            max_examples=15,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
