"""The recording loop: begin or continue, block after block, seal.

The teacher works on one block while the one before is encoded, written and committed.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import torch

from kdrec.recorder.classes import match_classes
from kdrec.recorder.passes import TeacherPass
from kdrec.recorder.planning import RecordRequest, make_plan, sample_contents
from kdrec.recorder.probe import ProbeReport, probe_teacher
from kdrec.recorder.proof import check_proof, check_proof_again, run_proof
from kdrec.recorder.score import TeacherScore, score_block, score_teacher
from kdrec.recorder.teacher import Teacher
from kdrec.recorder.threads import cpu_threads
from kdrec.samples import SampleIdentity, SampleSet, identify
from kdrec.store import (
    Block,
    BlockGrid,
    Classes,
    Correct,
    LedgerEntry,
    LockHolder,
    Plan,
    ProofRecords,
    RecordingPlace,
    RecordingReader,
    RecordingWriter,
    check_not_converted,
    check_same_plan,
    find_manifest,
    open_place,
)

_PENDING_BLOCKS = 2


@dataclass(frozen=True, slots=True)
class RecordProgress:
    """How far a recording is.

    Attributes:
        records: Teacher records computed or found so far.
        total: Records of the plan.
        new: Of `records`, those computed by this run.
    """

    records: int
    total: int
    new: int


@dataclass(frozen=True, slots=True)
class FoundRecording:
    """What another process left, and this one goes on with.

    Attributes:
        blocks: That are committed.
        total: Blocks of the plan.
        unfinished: Files that a killed process left half written; they are removed.
        took_over: Whether the lock of a silent process was taken over.
    """

    blocks: int
    total: int
    unfinished: tuple[str, ...]
    took_over: bool


class RecordObserver(Protocol):
    """Hears what happens; a progress bar, for instance."""

    def on_probe(self, report: ProbeReport, score: TeacherScore | None) -> None:
        """The teacher was probed, before the first block; no score without labels."""

    def on_wait(self) -> None:
        """Another process records here; called every second."""

    def on_found(self, found: FoundRecording) -> None:
        """A recording that was begun lies there; it is continued."""

    def on_progress(self, progress: RecordProgress) -> None:
        """A batch went through the teacher."""


@dataclass(frozen=True, slots=True)
class RecordResult:
    """A finished recording.

    Attributes:
        identity: Digest of its seal.
        records: Of the plan.
        new_records: Computed by this run.
        correct: The teacher's score over all records; no records without labels.
        num_bytes: Size of all its files but the seal.
        logit_bytes: Size of the logits' shards.
    """

    identity: str
    records: int
    new_records: int
    correct: Correct
    num_bytes: int
    logit_bytes: int


def record(
    request: RecordRequest, teacher: Teacher, samples: SampleSet, observer: RecordObserver
) -> RecordResult:
    """Record, or continue what was begun under the same plan.

    Args:
        request: What to record.
        teacher: As `load_teacher` gives it for `request.teacher`.
        samples: Preprocessed, in the order they shall have.
        observer: Hears of the probe, of waiting, of progress.

    Raises:
        ConflictError: The recording there has another plan.
        InvalidInputError: The teacher is unsuitable, or a value out of range.
        StorageError: The disk refuses; what is committed stays, the same call continues.
    """
    where = str(request.out)
    storage = open_place(request.out)
    found = find_manifest(storage, where=where)
    with cpu_threads(request.threads or (found.plan.threads if found else None)):
        identity = identify(samples)
        plan, classes = draft_plan(
            request, teacher, samples, identity, recorded=found.plan if found else None
        )

        def refuse_another_plan() -> None:
            there = find_manifest(storage, where=where)
            if there is not None:
                check_not_converted(there, where=where)
                check_same_plan(there.plan, plan, where=where)

        def wait() -> None:
            refuse_another_plan()
            observer.on_wait()

        refuse_another_plan()
        with storage.lock(while_waiting=wait) as holder:
            refuse_another_plan()
            run = _Run(plan, classes, teacher, samples, storage, where=where, observer=observer)
            return run.to_the_end(identity, holder)


def draft_plan(
    request: RecordRequest,
    teacher: Teacher,
    samples: SampleSet,
    identity: SampleIdentity,
    *,
    recorded: Plan | None,
) -> tuple[Plan, Classes]:
    """The plan, and what the columns of the logits mean."""
    num_classes = _count_columns(teacher, samples)
    names = request.teacher_classes or teacher.class_names
    class_map = match_classes(
        samples, num_teacher=num_classes, teacher_names=names, class_map=request.class_map
    )
    plan = make_plan(
        request,
        teacher,
        samples,
        identity,
        num_classes=num_classes,
        class_map=class_map,
        recorded=recorded,
    )
    return plan, Classes(num_teacher=num_classes, teacher=names, data=samples.class_names)


def _count_columns(teacher: Teacher, samples: SampleSet) -> int:
    one_BND = torch.from_numpy(samples.points_SND[:1]).to(teacher.options.device)
    return int(teacher.logits(one_BND).shape[1])


class _Run:
    """One process at work on one recording, holding its lock."""

    def __init__(
        self,
        plan: Plan,
        classes: Classes,
        teacher: Teacher,
        samples: SampleSet,
        storage: RecordingPlace,
        *,
        where: str,
        observer: RecordObserver,
    ) -> None:
        self._plan = plan
        self._classes = classes
        self._samples = samples
        self._storage = storage
        self._observer = observer
        self._where = where
        self._pass = TeacherPass.under(self._plan, teacher, samples)
        self._writer = RecordingWriter(storage, where=self._where)
        self._grid = BlockGrid.of(self._plan)

    def to_the_end(self, identity: SampleIdentity, holder: LockHolder) -> RecordResult:
        existing = self._writer.prepare()
        unfinished = self._storage.remove_unfinished()
        committed = {} if existing is None else self._writer.committed()
        if existing is not None or unfinished or holder.took_over:
            found = FoundRecording(
                blocks=len(committed),
                total=len(self._grid),
                unfinished=tuple(unfinished),
                took_over=holder.took_over,
            )
            self._observer.on_found(found)
        if existing is None:
            self._begin(identity)
        else:
            self._writer.resume(existing)
        proof = RecordingReader(self._storage, where=self._where).proof()
        missing = [block for block in self._grid if block.name not in committed]
        if missing and existing is not None:
            check_proof_again(self._plan, proof, self._pass)
        self._record(missing, proof)
        self._writer.seal()
        return self._result(missing)

    def _begin(self, identity: SampleIdentity) -> None:
        some = self._samples.points_SND[: 2 * self._plan.batch_size]
        report = probe_teacher(self._pass.teacher, some, batch_size=self._plan.batch_size)
        score = score_teacher(self._plan, self._pass)
        self._observer.on_probe(report, score)
        proof = run_proof(self._plan, self._pass)
        contents = sample_contents(self._plan, self._samples, identity)
        self._writer.begin(self._plan, self._classes, contents, proof)

    def _record(self, missing: list[Block], proof: ProofRecords) -> None:
        total = self._grid.views * self._grid.samples
        found = total - sum(_count_records(block) for block in missing)
        new = 0

        def count(records: int) -> None:
            nonlocal new
            new += records
            self._observer.on_progress(RecordProgress(found + new, total, new))

        pending: list[Future[LedgerEntry]] = []
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="kdrec-writer") as pool:
            for block in missing:
                parameters_GSP, logits_GSC = self._pass.block(block, on_records=count)
                check_proof(self._plan, proof, block, logits_GSC)
                while len(pending) >= _PENDING_BLOCKS:
                    pending.pop(0).result()
                correct = score_block(self._plan, self._samples, block, logits_GSC)
                arguments = (block, parameters_GSP, logits_GSC)
                pending.append(pool.submit(self._writer.commit, *arguments, correct=correct))
            for future in pending:
                future.result()

    def _result(self, missing: list[Block]) -> RecordResult:
        reader = RecordingReader(self._storage, where=self._where)
        assert reader.seal is not None
        files = reader.seal.files
        return RecordResult(
            identity=reader.seal.digest,
            records=self._grid.views * self._grid.samples,
            new_records=sum(_count_records(block) for block in missing),
            correct=reader.correct(),
            num_bytes=sum(file.size for file in files.values()),
            logit_bytes=sum(f.size for key, f in files.items() if key.startswith("logits/c/")),
        )


def _count_records(block: Block) -> int:
    return len(block.views) * len(block.samples)
