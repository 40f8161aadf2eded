"""A recording from its beginning to its seal, by one process or by several that know of no other.

The first to come begins it: plan, samples, proof records. Then each records the blocks it claims,
and the first that finds none missing seals it.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from kdrec.errors import IncompleteError, NotFoundError
from kdrec.recorder.block_queue import BlockQueue
from kdrec.recorder.block_work import BlockWork
from kdrec.recorder.journal import CountedJournal, Journal, NoJournal
from kdrec.recorder.passes import TeacherPass
from kdrec.recorder.patience import RETRY_SECONDS, PatientStorage
from kdrec.recorder.planning import RecordRequest, draft_plan, sample_contents
from kdrec.recorder.probe import ProbeReport, probe_teacher
from kdrec.recorder.proof import check_proof_again, run_proof
from kdrec.recorder.score import TeacherScore, score_teacher
from kdrec.recorder.share import Share
from kdrec.recorder.teacher import Teacher
from kdrec.recorder.threads import cpu_threads
from kdrec.samples import SampleIdentity, SampleSet, identify
from kdrec.store import (
    SEAL_KEY,
    BlockGrid,
    Correct,
    LockHolder,
    Manifest,
    Plan,
    RecordingReader,
    RecordingWriter,
    check_not_converted,
    check_same_plan,
    find_manifest,
    open_place,
)

BEGIN_SECONDS = 1800.0
_LOOK_SECONDS = 1.0


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
    """What other processes left or are at, and this one goes on with.

    Attributes:
        blocks: That are committed.
        total: Blocks of the plan.
        unfinished: Files that a killed process left half written; they are removed.
        took_over: Whether the lock of a silent process was taken over.
        shared: Whether others are at work on it.
    """

    blocks: int
    total: int
    unfinished: tuple[str, ...]
    took_over: bool
    shared: bool = False


class RecordObserver(Protocol):
    """Hears what happens; a progress bar, for instance."""

    def on_probe(self, report: ProbeReport, score: TeacherScore | None) -> None:
        """The teacher was probed, before the first block; no score without labels."""

    def on_wait(self) -> None:
        """Another process has what is missing here; called every second."""

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


@dataclass(frozen=True, slots=True)
class Conduct:
    """How a process takes part in a recording; none of it changes a byte.

    Attributes:
        share: The blocks it begins with.
        begin_seconds: How long it waits for another process to begin the recording.
        retry_seconds: How long it asks a storage again that fails.
        clock: Monotonic seconds.
        sleep: Waits for so many seconds.
    """

    share: Share = field(default_factory=Share)
    begin_seconds: float = BEGIN_SECONDS
    retry_seconds: float = RETRY_SECONDS
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def record(
    request: RecordRequest,
    teacher: Teacher,
    samples: SampleSet,
    observer: RecordObserver,
    *,
    conduct: Conduct = Conduct(),
    journal: Journal = NoJournal(),  # noqa: B008 - it has no state
) -> RecordResult:
    """Record, or continue what was begun under the same plan, together with others who do.

    Args:
        request: What to record.
        teacher: As `load_teacher` gives it for `request.teacher`.
        samples: Preprocessed, in the order they shall have.
        observer: Hears of the probe, of waiting, of progress.
        conduct: How this process takes part.
        journal: Hears of every block that this process commits.

    Raises:
        ConflictError: The recording there has another plan.
        IncompleteError: Another process did not begin the recording in time.
        InvalidInputError: The teacher is unsuitable, a value is out of range, or the device has
            not the memory for a batch.
        StorageError: The disk refuses; what is committed stays, the same call continues.
    """
    session = _Session(
        request, teacher, samples, observer=observer, conduct=conduct, journal=journal
    )
    return session.to_the_end()


class _OthersRecordError(Exception):
    """The wait for the lock is over: the recording was begun by another process."""


class _Session:
    """One process at work on one recording."""

    def __init__(
        self,
        request: RecordRequest,
        teacher: Teacher,
        samples: SampleSet,
        *,
        observer: RecordObserver,
        conduct: Conduct,
        journal: Journal,
    ) -> None:
        self._request = request
        self._teacher = teacher
        self._samples = samples
        self._observer = observer
        self._conduct = conduct
        self._journal = CountedJournal(journal)
        self._where = str(request.out)
        self._place = open_place(request.out)
        self._identity: SampleIdentity = identify(samples)
        self._stop = threading.Event()
        self._patient = PatientStorage(
            self._place,
            seconds=conduct.retry_seconds,
            on_failure=self._journal.on_failure,
            stop=self._stop,
        )
        self._waits_since: float | None = None
        self._pass: TeacherPass | None = None

    def to_the_end(self) -> RecordResult:
        began_here = self._enter()
        self._was_sealed = self._is_sealed()
        manifest = find_manifest(self._patient, where=self._where)
        assert manifest is not None, "it was begun"
        with cpu_threads(manifest.plan.threads):
            with self._patient.joined(while_waiting=self._observer.on_wait):
                self._record_blocks(manifest, check_teacher=not began_here)
            self._seal()
        return self._result(manifest.plan)

    def _enter(self) -> bool:
        """Begin the recording, or see that it was begun under the same plan.

        Returns:
            Whether this process began it.
        """
        self._find_begun()
        try:
            # Not patiently: where there is no lock at first, the address or the folder is wrong.
            with self._place.lock(while_waiting=self._look) as holder:
                return self._begin_or_continue(holder)
        except _OthersRecordError:
            self._say_found((), took_over=False, shared=True)
            return False

    def _look(self) -> None:
        """Called while another process holds the recording alone, or others share it."""
        if self._find_begun() is not None:
            raise _OthersRecordError
        now = self._conduct.clock()
        self._waits_since = now if self._waits_since is None else self._waits_since
        if now - self._waits_since > self._conduct.begin_seconds:
            raise IncompleteError(
                f"waited {now - self._waits_since:.0f} s for the manifest and the proof records of "
                f"{self._where}: another process has the lock and has not begun it; look at its "
                "log, end it if it hangs, or wait longer by --begin-timeout SECONDS"
            )
        self._observer.on_wait()

    def _find_begun(self) -> Manifest | None:
        """The manifest of a recording that was begun under the plan that is asked for.

        Raises:
            ConflictError: It has another plan.
        """
        there = find_manifest(self._patient, where=self._where)
        if there is not None:
            check_not_converted(there, where=self._where)
            plan, _ = draft_plan(
                self._request, self._teacher, self._samples, self._identity, recorded=there.plan
            )
            check_same_plan(there.plan, plan, where=self._where)
        return there

    def _begin_or_continue(self, holder: LockHolder) -> bool:
        writer = RecordingWriter(self._patient, where=self._where)
        existing = writer.prepare()
        unfinished = tuple(self._patient.remove_unfinished())
        if existing is not None:
            self._find_begun()
            writer.resume(existing)
            writer.committed()  # checks every entry
            self._say_found(unfinished, took_over=holder.took_over, shared=False)
            return False
        if unfinished or holder.took_over:
            self._say_found(unfinished, took_over=holder.took_over, shared=False)
        self._begin(writer)
        return True

    def _begin(self, writer: RecordingWriter) -> None:
        plan, classes = draft_plan(
            self._request, self._teacher, self._samples, self._identity, recorded=None
        )
        teacher_pass = self._pass_under(plan)
        with cpu_threads(plan.threads):
            some = self._samples.points_SND[: 2 * plan.batch_size]
            report = probe_teacher(self._teacher, some, batch_size=plan.batch_size)
            self._observer.on_probe(report, score_teacher(plan, teacher_pass))
            proof = run_proof(plan, teacher_pass)
        contents = sample_contents(plan, self._samples, self._identity)
        writer.begin(plan, classes, contents, proof)

    def _pass_under(self, plan: Plan) -> TeacherPass:
        """One for the session: the samples go to the device once."""
        if self._pass is None:
            self._pass = TeacherPass.under(plan, self._teacher, self._samples)
        return self._pass

    def _say_found(self, unfinished: tuple[str, ...], *, took_over: bool, shared: bool) -> None:
        there = find_manifest(self._patient, where=self._where)
        writer = RecordingWriter(self._patient, where=self._where)
        found = FoundRecording(
            blocks=len(writer.committed_names()),
            total=0 if there is None else len(BlockGrid.of(there.plan)),
            unfinished=unfinished,
            took_over=took_over,
            shared=shared,
        )
        self._observer.on_found(found)

    def _record_blocks(self, manifest: Manifest, *, check_teacher: bool) -> None:
        plan, grid = manifest.plan, BlockGrid.of(manifest.plan)
        writer = RecordingWriter(self._patient, where=self._where)
        writer.resume(manifest)
        proof = RecordingReader(self._patient, where=self._where).proof()
        teacher_pass = self._pass_under(plan)
        missing = {block.name for block in grid} - writer.committed_names()
        if missing and check_teacher:
            check_proof_again(plan, proof, teacher_pass)
        work = BlockWork(
            plan,
            teacher_pass,
            writer,
            proof,
            journal=self._journal,
            clock=self._conduct.clock,
            stop=self._stop,
            insist=self._patient.insist,
        )
        while missing:  # again where a claim was lost to a process that died in its turn
            queue = BlockQueue(
                grid,
                self._conduct.share,
                place=self._patient,
                committed=writer.committed_names,
                wait=self._wait,
            )
            work.record(queue, on_records=self._counter(grid, queue))
            missing = {block.name for block in grid} - writer.committed_names()
        total = grid.views * grid.samples
        self._observer.on_progress(RecordProgress(total, total, self._journal.records))

    def _counter(self, grid: BlockGrid, queue: BlockQueue) -> Callable[[int], None]:
        total, new = grid.views * grid.samples, self._journal.records

        def count(records: int) -> None:
            nonlocal new
            new += records
            found = min(total, queue.records_of_others + new)
            self._observer.on_progress(RecordProgress(found, total, new))

        return count

    def _wait(self) -> None:
        self._observer.on_wait()
        self._conduct.sleep(_LOOK_SECONDS)

    def _seal(self) -> None:
        if self._is_sealed():
            if self._was_sealed:  # then nobody has compared it with the ledger
                self._resumed_writer().seal()
            return
        with self._patient.lock(while_waiting=self._observer.on_wait):
            if self._is_sealed():
                return
            self._patient.remove_unfinished()
            self._patient.remove_claims()
            self._resumed_writer().seal()

    def _resumed_writer(self) -> RecordingWriter:
        writer = RecordingWriter(self._patient, where=self._where)
        manifest = writer.prepare()
        assert manifest is not None, "it was begun"
        writer.resume(manifest)
        return writer

    def _is_sealed(self) -> bool:
        try:
            return self._patient.size(SEAL_KEY) > 0
        except NotFoundError:
            return False

    def _result(self, plan: Plan) -> RecordResult:
        reader = RecordingReader(self._patient, where=self._where)
        assert reader.seal is not None
        files = reader.seal.files
        return RecordResult(
            identity=reader.seal.digest,
            records=plan.views * plan.data.num_samples,
            new_records=self._journal.records,
            correct=reader.correct(),
            num_bytes=sum(file.size for file in files.values()),
            logit_bytes=sum(f.size for key, f in files.items() if key.startswith("logits/c/")),
        )
