"""The recording loop in one process: memory that runs out, storages that fail, reports."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kdrec.augment import parse_augmentation
from kdrec.errors import ConflictError, ErrorKind, InvalidInputError, StorageError
from kdrec.recorder import (
    BlockReport,
    Conduct,
    Failure,
    FoundRecording,
    ProbeReport,
    RecordProgress,
    RecordRequest,
    RecordResult,
    Teacher,
    TeacherOptions,
    TeacherScore,
    record,
)
from kdrec.recorder.batch_size import MOST_ON_CPU, largest_batch_size
from kdrec.recorder.passes import TeacherPass
from kdrec.recorder.patience import PatientStorage
from kdrec.recorder.resident import ResidentPoints, resident_points
from kdrec.samples import SampleSet, make_shapes
from kdrec.store import Block, LocalStorage, LockHolder, RecordingReader, find_manifest
from tests.programs import contents

SAMPLES = make_shapes(24, seed=0, num_points=16)
MEMORY = {"clouds": 10**9, "fails": 10**9, "calls": 0}


class Limited(nn.Module):
    """A network on a device whose memory holds so many clouds, from some call on."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 12)
        for value in self.head.parameters():
            value.data = torch.linspace(-1, 1, value.numel()).reshape(value.shape)

    def forward(self, points_BN3: Tensor) -> Tensor:
        MEMORY["calls"] += 1
        if len(points_BN3) > MEMORY["clouds"] and MEMORY["calls"] > MEMORY["fails"]:
            raise torch.OutOfMemoryError("out of memory (injected)")
        pooled: Tensor = self.head(points_BN3.sin()).amax(dim=1)
        return pooled


@pytest.fixture(autouse=True)
def enough_memory() -> None:
    MEMORY.update(clouds=10**9, fails=10**9, calls=0)


class Watch:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.reports: list[BlockReport] = []
        self.failures: list[Failure] = []
        self.progress: list[RecordProgress] = []
        self.found: list[FoundRecording] = []

    def on_probe(self, report: ProbeReport, score: TeacherScore | None) -> None: ...

    def on_wait(self) -> None: ...

    def on_found(self, found: FoundRecording) -> None:
        self.found.append(found)

    def on_progress(self, progress: RecordProgress) -> None:
        self.progress.append(progress)

    def on_block(self, report: BlockReport) -> None:
        self.reports.append(report)

    def on_failure(self, failure: Failure) -> None:
        self.failures.append(failure)

    def on_lost(self, block: Block) -> None: ...


class Lost(Watch):
    """Keeps which blocks were given up."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: list[str] = []

    def on_lost(self, block: Block) -> None:
        self.lost.append(block.name)


def asked(out: Path, *, fast: bool = False) -> RecordRequest:
    return RecordRequest(
        out=out,
        teacher=TeacherOptions(factory="here:Limited", fast=fast),
        augmentation=parse_augmentation("scale=0.9:1.1"),
        views=4,
        group=2,
        batch_size=8,
        block_samples=8,
        threads=1,
        fast=fast,
    )


def teacher_of(request: RecordRequest) -> Teacher:
    return Teacher(
        module=Limited().eval(),
        options=request.teacher,
        digest="0" * 64,
        class_names=None,
        described_arguments={},
    )


def run(
    request: RecordRequest, watch: Watch | None = None, samples: SampleSet = SAMPLES
) -> RecordResult:
    watch = watch or Watch()
    conduct = Conduct(retry_seconds=0)
    return record(request, teacher_of(request), samples, watch, conduct=conduct, journal=watch)


def test_every_block_is_reported_once_with_what_it_took(tmp_path: Path) -> None:
    watch = Watch()
    result = run(asked(tmp_path / "r.zarr"), watch)
    assert [report.block.name for report in watch.reports] == [
        f"g{group:05d}-p{part:05d}" for group in range(2) for part in range(3)
    ]
    assert sum(report.records for report in watch.reports) == result.new_records == 96
    assert all(report.batch_size is None for report in watch.reports)
    assert all(r.began <= r.ended and r.num_bytes > 0 for r in watch.reports)
    assert [p.records for p in watch.progress] == sorted(p.records for p in watch.progress)
    assert watch.progress[-1] == RecordProgress(96, 96, 96)
    again = Watch()
    assert run(asked(tmp_path / "r.zarr"), again).new_records == 0
    assert (again.reports, again.found[0].blocks) == ([], 6)


def test_memory_that_runs_out_stops_and_the_same_command_continues(tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.zarr", tmp_path / "r.zarr"
    run(asked(whole))
    calls = MEMORY["calls"]
    MEMORY.update(clouds=4, fails=calls - 6, calls=0)
    with pytest.raises(InvalidInputError, match="not the memory for a batch of 8") as refusal:
        run(asked(path))
    assert refusal.value.kind is ErrorKind.OUT_OF_MEMORY
    assert (refusal.value.outcome.exit_code, (path / "seal.json").exists()) == (1, False)
    committed = len(list(path.glob("ledger/g*.json")))
    assert 0 < committed < 6
    MEMORY.update(clouds=10**9)
    assert run(asked(path)).new_records == 16 * (6 - committed)
    assert contents(path) == contents(whole)


def test_with_fast_the_batch_is_halved_for_that_block_and_the_ledger_says_so(
    tmp_path: Path,
) -> None:
    path = tmp_path / "r.zarr"
    run(asked(tmp_path / "whole.zarr", fast=True))
    calls = MEMORY["calls"]
    MEMORY.update(clouds=3, fails=calls - 2, calls=0)  # in the last block
    watch = Watch()
    assert run(asked(path, fast=True), watch).new_records == 96
    assert [report.batch_size for report in watch.reports] == [None] * 5 + [2]
    assert watch.progress[-1].records == 96
    assert max(p.records for p in watch.progress) == 96
    manifest = find_manifest(LocalStorage(path), where="r.zarr")
    assert manifest is not None
    assert manifest.plan.fast
    assert b'"fast": true' in (path / "zarr.json").read_bytes()
    entries = [file.read_bytes() for file in sorted(path.glob("ledger/g*.json"))]
    assert [b'"batch_size": 2' in entry for entry in entries] == [False] * 5 + [True]
    reader = RecordingReader(LocalStorage(path), where="r.zarr")
    assert len(reader.read(3)[1]) == 24


def test_a_fast_recording_is_continued_as_fast_only(tmp_path: Path) -> None:
    run(asked(tmp_path / "r.zarr"))
    with pytest.raises(ConflictError, match="fast: nothing recorded, True now"):
        run(asked(tmp_path / "r.zarr", fast=True))


def test_no_batch_at_all_ends_with_the_error_also_when_fast(tmp_path: Path) -> None:
    request = asked(tmp_path / "r.zarr", fast=True)
    MEMORY.update(clouds=0, fails=0)
    with pytest.raises(InvalidInputError, match="not the memory for a batch of 1"):
        run(request)


@pytest.mark.parametrize("clouds", [1, 5, 8, 20, 10**9])
def test_the_largest_batch_that_fits_is_found_by_trying(clouds: int, tmp_path: Path) -> None:
    MEMORY.update(clouds=clouds, fails=0)
    request = asked(tmp_path / "r.zarr")
    any_size = TeacherPass(teacher_of(request), SAMPLES, request.augmentation, 0, 1)
    found = largest_batch_size(any_size)
    assert found == {1: 1, 5: 4, 8: 8, 20: 16, 10**9: 32}[clouds]  # 24 clouds fill no more
    assert found <= MOST_ON_CPU


def test_a_batch_found_by_trying_is_frozen_in_the_plan(tmp_path: Path) -> None:
    request = replace(asked(tmp_path / "r.zarr"), batch_size="auto", block_samples=None)
    MEMORY.update(clouds=20, fails=0)
    run(request)
    MEMORY.update(clouds=10**9)
    assert run(request).new_records == 0
    manifest = find_manifest(LocalStorage(tmp_path / "r.zarr"), where="r.zarr")
    assert manifest is not None
    assert manifest.plan.batch_size == 16


class Unreliable(LocalStorage):
    """A disk that refuses the first writes of each file."""

    def __init__(self, root: Path, *, times: int) -> None:
        super().__init__(root)
        self._left: dict[str, int] = {}
        self._times = times

    def write(self, key: str, data: bytes, *, durable: bool = True) -> None:
        left = self._left.setdefault(key, self._times)
        self._left[key] = left - 1
        if left > 0:
            raise StorageError(f"{key}: no space left on device")
        super().write(key, data, durable=durable)


def test_a_write_that_fails_is_tried_again(tmp_path: Path) -> None:
    failures: list[Failure] = []
    place = PatientStorage(
        Unreliable(tmp_path, times=1),
        seconds=60,
        on_failure=failures.append,
        stop=threading.Event(),
    )
    place.write("a", b"1")
    assert place.read("a") == b"1"
    assert [(failure.message, failure.attempt) for failure in failures] == [
        ("a: no space left on device", 1)
    ]


def test_patience_has_an_end_and_the_error_is_the_storages_own(tmp_path: Path) -> None:
    for seconds, stopped in ((0.0, False), (1000.0, True)):
        stop = threading.Event()
        if stopped:
            stop.set()
        place = PatientStorage(
            Unreliable(tmp_path, times=3), seconds=seconds, on_failure=lambda _: None, stop=stop
        )
        with pytest.raises(StorageError, match="a: no space left on device"):
            place.write("a", b"1")


def test_points_that_lie_on_the_device_give_the_same_answers(tmp_path: Path) -> None:
    """On a GPU they do where they fit; here the device is the CPU."""
    request = asked(tmp_path / "r.zarr")
    teacher_pass = TeacherPass(teacher_of(request), SAMPLES, request.augmentation, 0, 8)
    points_SND = torch.from_numpy(SAMPLES.points_SND)
    resident = replace(teacher_pass, resident=ResidentPoints(points_SND))
    drawn = request.augmentation.draw(0, views=1, samples_B=[3, 1, 20, 5, 5, 7, 8, 9, 11])
    np.testing.assert_array_equal(resident.logits(drawn), teacher_pass.logits(drawn))
    np.testing.assert_array_equal(resident.fingerprints(drawn), teacher_pass.fingerprints(drawn))
    some = replace(teacher_pass, resident=ResidentPoints(points_SND[5:12], first=5))
    chunk = request.augmentation.draw(0, views=0, samples_B=[11, 5, 7])
    np.testing.assert_array_equal(some.logits(chunk), teacher_pass.logits(chunk))
    assert resident_points(SAMPLES, torch.device("cpu")) is None


def test_a_block_that_another_committed_meanwhile_is_left_as_it_is(tmp_path: Path) -> None:
    """Who was silent for too long may come last; under --fast his bytes could be others."""
    path, whole = tmp_path / "r.zarr", tmp_path / "whole.zarr"
    run(asked(whole, fast=True))
    watch = Lost()
    first = "ledger/g00000-p00000.json"

    class TakenOver(Limited):
        def forward(self, points_BN3: Tensor) -> Tensor:
            if (path / "zarr.json").exists() and not (path / first).exists():
                (path / first).write_bytes((whole / first).read_bytes())
                for key in ("params/c/0/0/0", "logits/c/0/0/0"):
                    (path / key).parent.mkdir(parents=True, exist_ok=True)
                    (path / key).write_bytes((whole / key).read_bytes())
            return super().forward(points_BN3)

    request = asked(path, fast=True)
    teacher = replace(teacher_of(request), module=TakenOver().eval())
    result = record(
        request, teacher, SAMPLES, watch, conduct=Conduct(retry_seconds=0), journal=watch
    )
    assert watch.lost == ["g00000-p00000"]
    assert result.new_records == 80
    assert contents(path) == contents(whole)


def test_a_disk_that_is_not_mounted_for_a_while_is_waited_for(tmp_path: Path) -> None:
    path, away, whole = tmp_path / "r.zarr", tmp_path / "away", tmp_path / "whole.zarr"
    run(asked(whole))

    class Unmounted(Watch):
        """After the first block, until somebody asks again."""

        def on_block(self, report: BlockReport) -> None:
            super().on_block(report)
            if len(self.reports) == 1:
                path.rename(away)

        def on_failure(self, failure: Failure) -> None:
            super().on_failure(failure)
            away.rename(path)

    watch, request = Unmounted(), asked(path)
    conduct = Conduct(retry_seconds=60)
    record(request, teacher_of(request), SAMPLES, watch, conduct=conduct, journal=watch)
    assert "is not there any more" in watch.failures[0].message
    assert contents(path) == contents(whole)


def test_a_lock_that_cannot_be_had_is_tried_again(tmp_path: Path) -> None:
    class Once(LocalStorage):
        refused = False

        def lock(self, *, while_waiting: Callable[[], None]) -> AbstractContextManager[LockHolder]:
            if not self.refused:
                self.refused = True
                raise StorageError("the store does not answer")
            return super().lock(while_waiting=while_waiting)

    failures: list[Failure] = []
    place = PatientStorage(
        Once(tmp_path / "r.zarr"), seconds=60, on_failure=failures.append, stop=threading.Event()
    )
    with place.lock(while_waiting=lambda: None) as holder:
        assert holder == LockHolder()
    assert [failure.message for failure in failures] == ["the store does not answer"]
