"""Whether a teacher is the one that a recording is of, asked on the proof records.

Shape letters: M proof records, C classes.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from kdrec.client import Recording
from kdrec.recorder.passes import TeacherPass
from kdrec.recorder.teacher import Teacher
from kdrec.recorder.threads import cpu_threads
from kdrec.samples import SampleSet
from kdrec.store import (
    TEACHER_SLACK,
    Fidelity,
    Manifest,
    ProofRecords,
    count_draws,
    measure_fidelity,
)


class TeacherVerdict(StrEnum):
    """What a teacher is to a recording."""

    SAME = "same teacher"
    OTHER_HARDWARE = "same teacher, other hardware"
    ANOTHER = "another teacher"


@dataclass(frozen=True, slots=True)
class TeacherComparison:
    """A teacher's answers beside those that were recorded.

    Attributes:
        verdict: See `judge`.
        reason: Why, for a person.
        same_tensors: Whether its tensors are those of the plan.
        records: Proof records that were asked again.
        identical: Those answered to the bit.
        draws: Independent draws among them.
        largest_difference: Of a logit, relative to the largest of its record (or 1); None for
            other classes.
        allowed: What of that may be rounding.
        fidelity: How far its answers are from the recorded ones; None for other classes.
    """

    verdict: TeacherVerdict
    reason: str
    same_tensors: bool
    records: int
    identical: int
    draws: int
    largest_difference: float | None
    allowed: float
    fidelity: Fidelity | None


def verify_teacher(
    recording: Recording, teacher: Teacher, samples: SampleSet, *, tolerance: float = 0.0
) -> TeacherComparison:
    """Ask a teacher all proof records again, in batches and threads of the plan.

    Args:
        recording: Of some teacher.
        teacher: Loaded with what the plan says of layout, output and precision.
        samples: Those it was recorded from; compared first, so that what differs is the teacher.
        tolerance: Greatest difference of coordinates that is still the same sample.

    Raises:
        ConflictError: The samples are not the recorded ones.
        InvalidInputError: The teacher fails on them, or gives no finite logits.
    """
    recording.check(samples, tolerance=tolerance)
    plan, proof = recording.manifest.plan, recording.reader.proof()
    numbers_S = recording.reader.sample_numbers()
    teacher_pass = replace(TeacherPass.under(plan, teacher, samples), numbers_S=numbers_S)
    with cpu_threads(plan.threads):
        found_MC = teacher_pass.logits(recording.reader.draw(proof.views_M, proof.samples_M))
    same_tensors = teacher.digest == plan.teacher.tensors
    return judge(recording.manifest, proof, found_MC, same_tensors=same_tensors)


def judge(
    manifest: Manifest,
    proof: ProofRecords,
    found_MC: npt.NDArray[np.float32],
    *,
    same_tensors: bool,
) -> TeacherComparison:
    """What answers to the proof records say about who gave them.

    Other hardware, libraries or batches change the last bits: the recorded tensors and differences
    within `TEACHER_SLACK` are the same teacher. Other tensors are another teacher, however close
    its answers are, unless all answers are the recorded ones to the bit (an unused tensor).
    """
    recorded_MC = proof.logits_MC
    comparable = recorded_MC.shape == found_MC.shape
    relative_M = _relative_differences(recorded_MC, found_MC) if comparable else np.array([np.inf])
    identical = int((recorded_MC == found_MC).all(axis=1).sum()) if comparable else 0
    allowed = TEACHER_SLACK[manifest.plan.precision]
    largest = float(relative_M.max(initial=0.0))
    verdict, reason = _verdict(
        all_identical=identical == len(proof),
        within=largest <= allowed,
        same_tensors=same_tensors,
        classes=(recorded_MC.shape[1], found_MC.shape[1]),
    )
    return TeacherComparison(
        verdict=verdict,
        reason=reason,
        same_tensors=same_tensors,
        records=len(proof),
        identical=identical,
        draws=count_draws(proof, manifest),
        largest_difference=largest if comparable else None,
        allowed=allowed,
        fidelity=measure_fidelity(recorded_MC, found_MC) if comparable else None,
    )


def _relative_differences(
    recorded_MC: npt.NDArray[np.float32], found_MC: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    recorded64_MC = recorded_MC.astype(np.float64)
    scale_M = np.maximum(1.0, np.abs(recorded64_MC).max(axis=1))
    relative_M: npt.NDArray[np.float64] = np.abs(found_MC - recorded64_MC).max(axis=1) / scale_M
    return relative_M


def _verdict(
    *, all_identical: bool, within: bool, same_tensors: bool, classes: tuple[int, int]
) -> tuple[TeacherVerdict, str]:
    if classes[0] != classes[1]:
        reason = f"it has {classes[1]} classes, the recorded one {classes[0]}"
        return TeacherVerdict.ANOTHER, reason
    if all_identical:
        others = "" if same_tensors else ", although its tensors are others: some may be unused"
        return TeacherVerdict.SAME, f"every answer is the recorded one to the bit{others}"
    if not same_tensors:
        near = "close to" if within else "not"
        reason = f"its tensors are others than the plan's, and its answers {near} the recorded ones"
        return TeacherVerdict.ANOTHER, reason
    if within:
        reason = "its tensors are the recorded ones, and its answers differ only by rounding"
        return TeacherVerdict.OTHER_HARDWARE, reason
    reason = (
        "its tensors are the recorded ones, but its answers differ by more than rounding: its "
        "code, its arguments or what it computes with are others"
    )
    return TeacherVerdict.ANOTHER, reason
