"""Several teachers: recordings of the same views, whose logits are mixed into one target.

Shape letters: K teachers, B batch, C classes.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kdrec import rng
from kdrec.client import Recording
from kdrec.errors import ConflictError, ErrorKind, InvalidInputError
from kdrec.samples import SampleSet
from kdrec.student.batches import BatchSource, RecordedBatch, SourceDescription
from kdrec.student.settings import TrainSettings
from kdrec.student.view_schedule import ViewOrder
from kdrec.student.views import RecordedViews, check_one_view_a_step

_DRAW_STREAM = 0x5D04


def join_teachers(
    recordings: Sequence[Recording], samples: SampleSet | None, settings: TrainSettings
) -> BatchSource:
    """What a student learns from: one recording, or several of the same views mixed.

    Args:
        recordings: At least one.
        samples: The data they were made from; by default those the first one keeps.
        settings: Which classes, and how teachers are mixed.

    Raises:
        ConflictError: They are not of the same views of the same data, or the samples are not.
        InvalidInputError: They are not of the same classes, or the shares do not fit.
    """
    shares = settings.shares or [1.0] * len(recordings)
    if len(shares) != len(recordings):
        raise InvalidInputError(
            f"{len(shares)} shares do not go with {len(recordings)} teachers; give one for each"
        )
    choice = _Choice.of(settings)
    first = choice.views(recordings[0], samples)
    if len(recordings) == 1:
        return first
    kept = recordings[0].samples() if samples is None else samples
    for other in recordings[1:]:
        _check_aligned(recordings[0], other)  # by digest, with the one whose samples are checked
    others = [choice.views(other, kept, check=False) for other in recordings[1:]]
    draw_seed = settings.seed if settings.mix == "draw" else None
    return MixedTeachers([first, *others], shares=shares, draw_seed=draw_seed)


@dataclass(frozen=True, slots=True)
class _Choice:
    """What a training takes of each of its recordings."""

    classes: Literal["data", "all"]
    numbers: range | None
    order: ViewOrder
    seed: int

    @classmethod
    def of(cls, settings: TrainSettings) -> Self:
        numbers = None if settings.views is None else range(*map(int, settings.views.split(":")))
        return cls(settings.classes, numbers, settings.view_order, settings.seed)

    def views(
        self, recording: Recording, samples: SampleSet | None, *, check: bool = True
    ) -> RecordedViews:
        return RecordedViews(
            recording,
            samples,
            views=self.numbers,
            view_order=self.order,
            seed=self.seed,
            check=check,
            classes=self.classes,
        )


class MixedTeachers:
    """Recorded views with one set of logits made of several teachers'.

    The mean is one of centred logits, so that it does not matter which shift a teacher's logits
    have; its softmax is the normalised geometric mean of the teachers' probabilities, at every
    temperature. Mixing logits, not losses, is our choice: it serves every loss.

    Args:
        teachers: At least one, of the same views and classes.
        shares: Of each, not negative, not all 0.
        draw_seed: To draw one teacher for each sample and epoch; None for the mean.

    Raises:
        ConflictError: They are not of the same views of the same data.
        InvalidInputError: They are not of the same classes, or give several views a step.
    """

    def __init__(
        self, teachers: Sequence[RecordedViews], *, shares: Sequence[float], draw_seed: int | None
    ) -> None:
        for teacher in teachers:
            check_one_view_a_step(teacher)
        for other in teachers[1:]:
            _check_same_samples(teachers[0], other)
        self._teachers = list(teachers)
        self._shares_K = np.asarray(shares, dtype=np.float64) / sum(shares)
        self._draw_seed = draw_seed
        self._description = _joined([teacher.description for teacher in teachers])

    @property
    def description(self) -> SourceDescription:
        return self._description

    @property
    def num_views(self) -> int:
        return self._teachers[0].num_views

    def __len__(self) -> int:
        return len(self._teachers[0])

    def set_epoch(self, epoch: int) -> None:
        for teacher in self._teachers:
            teacher.set_epoch(epoch)

    def batch(self, indices: npt.ArrayLike) -> RecordedBatch:
        first = self._teachers[0].batch(indices)
        view = self._teachers[0].view
        return first._replace(teacher_logits=self._mixed(first, view))

    def second_batch(self, indices: npt.ArrayLike) -> RecordedBatch:
        first = self._teachers[0].second_batch(indices)
        view = self._teachers[0].second_view
        return first._replace(teacher_logits=self._mixed(first, view))

    def _mixed(self, first: RecordedBatch, view: int) -> Tensor:
        index_B = first.index.cpu().numpy()
        others = [teacher.teacher_logits(view, index_B) for teacher in self._teachers[1:]]
        logits_KBC = torch.stack([first.teacher_logits, *others])
        if self._draw_seed is None:
            centred_KBC = logits_KBC - logits_KBC.mean(dim=-1, keepdim=True)
            shares_K11 = torch.tensor(self._shares_K[:, None, None]).to(logits_KBC)
            return (shares_K11 * centred_KBC).sum(dim=0)
        return logits_KBC[self._drawn(index_B), torch.arange(len(index_B))]

    def _drawn(self, index_B: npt.NDArray[np.int64]) -> Tensor:
        assert self._draw_seed is not None
        words_B1 = rng.words(
            self._draw_seed,
            view=self._teachers[0].epoch,
            stream=_DRAW_STREAM,
            samples_B=index_B,
            num_words=1,
        )
        # The last sum may round to below 1: without it a number above it would find no teacher.
        edges_K = np.cumsum(self._shares_K)[:-1]
        return torch.from_numpy(np.searchsorted(edges_K, rng.uniform(words_B1)[:, 0], "right"))


def _check_aligned(first: Recording, other: Recording) -> None:
    """Whether two recordings are of the same views of the same data.

    Raises:
        ConflictError: They are not; names the first difference.
    """
    mine, theirs = first.manifest.plan, other.manifest.plan
    pairs = {
        "data": (mine.data.digest, theirs.data.digest),
        "augmentation": (mine.augmentation, theirs.augmentation),
        "seed": (mine.seed, theirs.seed),
        "views": (mine.views, theirs.views),
        "its first view": (_first_view(first), _first_view(other)),
        "its numbering of samples": (_drawn_numbers(first), _drawn_numbers(other)),
    }
    for name, (ours, found) in pairs.items():
        if ours != found:
            raise ConflictError(
                f"{other.where} is not of the same views as {first.where}: {name} is {found}, not "
                f"{ours}; record both teachers with the same data, augmentation, seed and views, "
                "and convert both alike",
                kind=ErrorKind.MISALIGNED,
            )


def _first_view(recording: Recording) -> int:
    """As it was drawn: another than 0 in a recording converted from later views."""
    origin = recording.manifest.origin
    return 0 if origin is None else origin.first_view


def _drawn_numbers(recording: Recording) -> str:
    """By which the samples were drawn: others than their places where some were left out."""
    numbers_S = recording.reader.sample_numbers()
    if numbers_S is None:
        return "as they are"
    return hashlib.sha256(numbers_S.astype("<i8").tobytes()).hexdigest()[:12]


def _check_same_samples(first: RecordedViews, other: RecordedViews) -> None:
    """Whether the same numbers mean the same records.

    Raises:
        ConflictError: They do not.
    """
    _check_aligned(first.recording, other.recording)
    if not np.array_equal(first.recorded_numbers(), other.recorded_numbers()):
        raise ConflictError(
            f"the samples of {other.recording.where} are others, or in another order, than those "
            f"of {first.recording.where}; give both the same samples and subset",
            kind=ErrorKind.MISALIGNED,
        )


def _joined(descriptions: Sequence[SourceDescription]) -> SourceDescription:
    first = descriptions[0]
    for other in descriptions[1:]:
        if (other.num_classes, other.class_columns) != (first.num_classes, first.class_columns):
            raise InvalidInputError(
                f"teachers of {first.num_classes} and {other.num_classes} classes cannot be mixed; "
                "take classes 'data', or teachers of the same classes"
            )
    identities = [description.identity for description in descriptions]
    known = [identity for identity in identities if identity is not None]
    return first.model_copy(
        update={
            "header": "+".join(description.header for description in descriptions),
            "identity": "+".join(known) if len(known) == len(identities) else None,
            "all_logits": all(description.all_logits for description in descriptions),
        }
    )
