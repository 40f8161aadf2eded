"""How good the teacher is on these data, clean and under the plan's augmentation.

A teacher that was trained on centred and scaled clouds loses half of its accuracy on clouds that
are shifted; a recording of it would teach that. So it is measured first.

Shape letters: K records, S samples, C classes.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kdrec import rng
from kdrec.augment import Array, Augmentation
from kdrec.recorder.passes import TeacherPass
from kdrec.samples import SampleSet
from kdrec.store import Block, Correct, Plan, count_correct

LARGE_LOSS = 0.03
_LEAST, _MOST, _SHARE = 64, 1024, 200  # clouds; at most one record in 200
_STREAM = 0xF3
_AT_ONCE = 2**16


@dataclass(frozen=True, slots=True)
class TeacherScore:
    """The teacher on a seeded sample of the data, the same clouds both times.

    Attributes:
        clean: Without augmentation.
        planned: Each cloud in one of the plan's views.
    """

    clean: Correct
    planned: Correct

    @property
    def loss(self) -> float:
        """Accuracy lost to the augmentation, over the data's classes, 0 to 1."""
        return (self.clean.of_mapped - self.planned.of_mapped) / max(1, self.clean.records)

    @property
    def is_large_loss(self) -> bool:
        """Whether the augmentation does not suit the teacher."""
        return self.loss > LARGE_LOSS


def score_teacher(plan: Plan, teacher_pass: TeacherPass) -> TeacherScore | None:
    """Run the teacher on some clouds, clean and augmented; None without labels."""
    labels_S = teacher_pass.samples.labels_S
    if labels_S is None:
        return None
    chosen_K = _choose(plan)
    views_K = np.arange(len(chosen_K)) % plan.views
    clean_pass = replace(teacher_pass, augmentation=Augmentation())
    scores = [
        count_correct(
            each.logits(each.augmentation.draw(plan.seed, views=views_K, samples_B=chosen_K))[None],
            labels_S[chosen_K],
            plan.class_map,
        )
        for each in (clean_pass, teacher_pass)
    ]
    return TeacherScore(clean=scores[0], planned=scores[1])


def score_block(plan: Plan, samples: SampleSet, block: Block, logits_GSC: Array) -> Correct | None:
    """The teacher's score on a block, for its ledger entry; None without labels."""
    if samples.labels_S is None:
        return None
    labels_S = samples.labels_S[block.samples.start : block.samples.stop]
    return count_correct(logits_GSC, labels_S, plan.class_map)


def count_scored(plan: Plan) -> int:
    """How many clouds `score_teacher` takes."""
    return len(_choose(plan))


def _choose(plan: Plan) -> npt.NDArray[np.int64]:
    num_samples = plan.data.num_samples
    wanted = max(_LEAST, min(_MOST, plan.views * num_samples // _SHARE))
    chosen, words = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.uint64)
    for start in range(0, num_samples, _AT_ONCE):  # a word for each of millions would be much
        samples_S = np.arange(start, min(start + _AT_ONCE, num_samples))
        drawn_SW = rng.words(plan.seed, view=0, stream=_STREAM, samples_B=samples_S, num_words=1)
        chosen, words = np.append(chosen, samples_S), np.append(words, drawn_SW[:, 0])
        least = np.argsort(words, kind="stable")[:wanted]
        chosen, words = chosen[least], words[least]
    return np.sort(chosen)
