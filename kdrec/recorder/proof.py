"""Proof records: a seeded sample of the whole plan, with exact logits and input fingerprints."""

import numpy as np
import numpy.typing as npt

from kdrec.augment import Array, ViewParameters, like, to_host
from kdrec.errors import ConflictError
from kdrec.recorder.passes import TeacherPass
from kdrec.store import TEACHER_SLACK, Block, Plan, ProofRecords, choose_proof


def run_proof(plan: Plan, teacher_pass: TeacherPass) -> ProofRecords:
    """Run the proof records through the teacher."""
    views_M, samples_M = choose_proof(plan)
    drawn: ViewParameters = plan.augmentation.draw(plan.seed, views=views_M, samples_B=samples_M)
    return ProofRecords(
        views_M=views_M,
        samples_M=samples_M,
        logits_MC=teacher_pass.logits(drawn),
        fingerprints_MF=teacher_pass.fingerprints(drawn),
    )


def check_proof_again(plan: Plan, proof: ProofRecords, teacher_pass: TeacherPass) -> None:
    """Run all proof records once more, before a recording is continued.

    Raises:
        ConflictError: The teacher answers, or sees, something else than when it was begun.
    """
    again = run_proof(plan, teacher_pass)
    _compare(plan, proof, np.arange(len(proof)), again.logits_MC)


def check_proof(plan: Plan, proof: ProofRecords, block: Block, logits_GSC: Array) -> None:
    """Whether the teacher answers in a block what it answered for the proof.

    Raises:
        ConflictError: It does not: a teacher that changes from run to run.
    """
    rows = np.flatnonzero(
        np.isin(proof.views_M, np.asarray(block.views))
        & np.isin(proof.samples_M, np.asarray(block.samples))
    )
    views, samples = proof.views_M[rows], proof.samples_M[rows]
    view_K, sample_K = views - block.views.start, samples - block.samples.start
    found_KC = logits_GSC[like(view_K, logits_GSC), like(sample_K, logits_GSC)]
    _compare(plan, proof, rows, to_host(found_KC))


def _compare(
    plan: Plan,
    proof: ProofRecords,
    rows: npt.NDArray[np.int64],
    found_KC: npt.NDArray[np.float32],
) -> None:
    difference_K = np.abs(found_KC - proof.logits_MC[rows]).max(axis=1, initial=0.0)
    scale_K = np.maximum(1.0, np.abs(proof.logits_MC[rows]).max(axis=1, initial=0.0))
    for k in np.flatnonzero(difference_K > TEACHER_SLACK[plan.precision] * scale_K)[:1]:
        raise ConflictError(
            f"the teacher's logits for view {proof.views_M[rows[k]]} of sample "
            f"{proof.samples_M[rows[k]]} differ by {difference_K[k]:.3g} from those at the "
            "beginning of this recording: its code, device or libraries are others, or it answers "
            "differently from run to run; record anew under another name"
        )
