"""What a recording would cost, from a trial of a few hundred records on this machine.

Shape letters: K records, S samples, N points, D channels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kdrec.recorder.passes import TeacherPass
from kdrec.recorder.planning import RecordRequest, draft_plan, sample_contents
from kdrec.recorder.probe import probe_teacher
from kdrec.recorder.proof import run_proof
from kdrec.recorder.score import count_scored
from kdrec.recorder.teacher import Teacher
from kdrec.recorder.threads import cpu_threads
from kdrec.samples import SampleIdentity, SampleSet, identify
from kdrec.store import (
    BlockGrid,
    Classes,
    MemoryStorage,
    Plan,
    RecordingReader,
    RecordingWriter,
    choose_proof,
    stored_size,
)

_JITTER_SIGMA, _JITTER_MOST = 0.01, 0.05
_LENGTH_STEP = 2.0**-16
_COORDINATES = 3
_FLOAT32 = 4


@dataclass(frozen=True, slots=True)
class Trial:
    """What a small part of the recording took.

    Attributes:
        records: Asked, encoded, and read again.
        teacher_seconds: A record: augmentation and teacher, in batches of the plan.
        write_seconds: A record: encoding and digests, without the disk.
        read_seconds: A record: reading shuffled batches, decoding included, and replay.
        logit_bytes: A record, as stored, with classes and masses where only some are kept.
        parameter_bytes: A record, as stored.
        jitter_bytes: A record, if a displacement of every point were stored in the same way.
        sample_bytes: A sample: digest, sketch, label, name, and points if they are kept.
        proof_bytes: A proof record.
        entry_bytes: A block's ledger entry.
        fixed_bytes: Metadata.
    """

    records: int
    teacher_seconds: float
    write_seconds: float
    read_seconds: float
    logit_bytes: float
    parameter_bytes: float
    jitter_bytes: float
    sample_bytes: float
    proof_bytes: float
    entry_bytes: float
    fixed_bytes: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A recording before it is made.

    Attributes:
        trial: What everything is drawn from.
        plan: Of the recording.
        num_classes: C.
        num_parameters: P.
        points_left: Points of a cloud as the teacher sees it.
        proof_records: Kept.
        extra_records: Asked for probe, score and proof, beyond the plan's.
    """

    trial: Trial
    plan: Plan
    num_classes: int
    num_parameters: int
    points_left: int
    proof_records: int
    extra_records: int

    @property
    def records(self) -> int:
        """Of the plan."""
        return self.plan.views * self.plan.data.num_samples

    @property
    def num_bytes(self) -> float:
        """Of the whole recording."""
        trial = self.trial
        return (
            self.records * (trial.logit_bytes + trial.parameter_bytes)
            + self.plan.data.num_samples * trial.sample_bytes
            + self.proof_records * trial.proof_bytes
            + len(BlockGrid.of(self.plan)) * 2 * trial.entry_bytes  # in the ledger and in the seal
            + trial.fixed_bytes
        )

    @property
    def seconds(self) -> float:
        """To record it here, in one process."""
        trial = self.trial
        asked = (self.records + self.extra_records) * trial.teacher_seconds
        return asked + self.records * trial.write_seconds

    @property
    def break_even_epochs(self) -> float | None:
        """Student epochs after which it has cost less than a teacher that runs beside the student.

        An epoch with a live teacher pays augmentation and teacher for every sample, one from the
        recording reading and replay; the student itself costs the same in both. None where reading
        is no faster than this teacher.
        """
        saved = self.trial.teacher_seconds - self.trial.read_seconds
        return self.seconds / (self.plan.data.num_samples * saved) if saved > 0 else None

    @property
    def raw_bytes(self) -> int:
        """A record in plain float32: logits and parameters."""
        return _FLOAT32 * (self.num_classes + self.num_parameters)

    @property
    def raw_jitter_bytes(self) -> int:
        """What a displacement of every point would add to it."""
        return _FLOAT32 * _COORDINATES * self.points_left


def estimate(
    request: RecordRequest,
    teacher: Teacher,
    samples: SampleSet,
    *,
    clock: Callable[[], float],
    trial_records: int,
) -> Estimate:
    """Try a part of a recording in memory, and say what the whole would cost.

    Args:
        request: As for `record`; nothing is written to its folder.
        teacher: As `load_teacher` gives it.
        samples: Preprocessed.
        clock: Seconds from any beginning, such as `time.perf_counter`.
        trial_records: About how many records to try.

    Raises:
        InvalidInputError: The teacher is unsuitable, or a value out of range.
    """
    plan, classes = draft_plan(request, teacher, samples, identify(samples), recorded=None)
    with cpu_threads(plan.threads):
        trial = _try(plan, classes, teacher, samples, clock=clock, trial_records=trial_records)
    proof_records = len(choose_proof(plan)[0])
    scored = 0 if samples.labels_S is None else 2 * count_scored(plan)
    return Estimate(
        trial=trial,
        plan=plan,
        num_classes=classes.num_teacher,
        num_parameters=len(plan.augmentation.columns),
        points_left=plan.augmentation.num_points(samples.num_points),
        proof_records=proof_records,
        extra_records=3 * plan.batch_size + scored + proof_records,
    )


def _try(
    asked: Plan,
    classes: Classes,
    teacher: Teacher,
    samples: SampleSet,
    *,
    clock: Callable[[], float],
    trial_records: int,
) -> Trial:
    """One block of one view group over samples from the whole data set, which may be sorted."""
    wanted = max(1, trial_records // asked.group)
    some = np.linspace(0, len(samples) - 1, min(wanted, len(samples))).astype(np.int64)
    chosen = samples.rows(some)
    identity = identify(chosen)
    plan = _trial_plan(asked, identity)
    block = BlockGrid.of(plan).block(0, 0)
    teacher_pass = TeacherPass.under(plan, teacher, chosen)
    # As `record` does first; both also warm the teacher up.
    some_points = chosen.points_SND[: 2 * plan.batch_size]
    probe_teacher(teacher, some_points, batch_size=plan.batch_size)
    proof = run_proof(plan, teacher_pass)
    started = clock()
    parameters_GSP, logits_GSC = teacher_pass.block(block)
    answered = clock()
    storage = MemoryStorage()
    writer = RecordingWriter(storage, where="trial")
    writer.begin(plan, classes, sample_contents(plan, chosen, identity), proof)
    begun = clock()
    entry = writer.commit(block, parameters_GSP, logits_GSC, correct=None)
    written = clock()
    _read_again(storage, chosen)
    ended = clock()
    records = len(block.views) * len(block.samples)
    shards = sum(digest.size for digest in entry.files.values())
    params = entry.files.get(block.shard_key("params"))
    parameter_bytes = params.size if params else 0
    return Trial(
        records=records,
        teacher_seconds=(answered - started) / records,
        write_seconds=(written - begun) / records,
        read_seconds=(ended - written) / records,
        logit_bytes=(shards - parameter_bytes) / records,
        parameter_bytes=parameter_bytes / records,
        jitter_bytes=_jitter_bytes(plan, chosen),
        sample_bytes=_total(storage, "samples/") / len(chosen),
        proof_bytes=_total(storage, "proof/") / len(proof),
        entry_bytes=len(entry.to_bytes()),
        fixed_bytes=_total(storage, "zarr.json") + _total(storage, "ledger/header"),
    )


def _trial_plan(plan: Plan, identity: SampleIdentity) -> Plan:
    num_samples = len(identity.digests)
    whole_batches = -(-num_samples // plan.batch_size) * plan.batch_size
    data = {"digest": identity.digest, "num_samples": num_samples}
    return plan.model_copy(
        update={
            "views": plan.group,
            "block_samples": whole_batches,
            "data": plan.data.model_copy(update=data),
        }
    )


def _read_again(storage: MemoryStorage, chosen: SampleSet) -> None:
    """Every record once, in shuffled batches, replayed: what a student's epochs do."""
    reader = RecordingReader(storage, where="trial")
    plan = reader.manifest.plan
    order_S = np.random.default_rng(0).permutation(len(chosen))
    for view in range(plan.views):
        for start in range(0, len(chosen), plan.batch_size):
            batch = order_S[start : start + plan.batch_size]
            parameters, _ = reader.read(view, batch)
            points_BND = chosen.points_SND[batch]
            plan.augmentation.apply(points_BND, parameters, channels=chosen.channels)


def _jitter_bytes(plan: Plan, chosen: SampleSet) -> float:
    """Of a record: the field's usual jitter, rounded to the grid on which lengths are stored."""
    points = plan.augmentation.num_points(chosen.num_points)
    drawn = np.random.default_rng(0).normal(0, _JITTER_SIGMA, (len(chosen), points, _COORDINATES))
    kept = np.clip(drawn, -_JITTER_MOST, _JITTER_MOST)
    on_grid = np.round(kept / _LENGTH_STEP) * _LENGTH_STEP
    return stored_size(on_grid.astype(np.float32)) / len(chosen)


def _total(storage: MemoryStorage, prefix: str) -> int:
    return sum(storage.size(key) for key in storage.keys(prefix))
