"""The recorded views of a data set as a torch data set: no teacher, and no generator either.

Shape letters: S samples, B batch, N points, D channels, C classes of the data.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from kdrec.augment import Augmentation
from kdrec.client import Recording
from kdrec.errors import InvalidInputError
from kdrec.samples import SampleSet
from kdrec.student.batches import RecordedBatch, SourceDescription


class RecordedSample(NamedTuple):
    """One sample of one view.

    Attributes:
        points: As the teacher saw them, (N, D) float32.
        teacher_logits: Of the data's classes, (C,) float32.
        label: () int64; (0,) where the data have no labels, so that nothing passes for one.
        index: Sample number, () int64.
    """

    points: Tensor
    teacher_logits: Tensor
    label: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which no batch needs


class RecordedViews(Dataset[RecordedSample | RecordedBatch]):
    """Samples as the teacher saw them, with what it said: epoch e gives view e mod V.

    One number gives a `RecordedSample`, a list or array of numbers a `RecordedBatch` without any
    work per sample. So both of these loaders are fast, the second more so:

        DataLoader(views, batch_size=32, shuffle=True)
        DataLoader(views, sampler=BatchSampler(RandomSampler(views), 32, False), batch_size=None)

    Call `set_epoch` before each epoch; workers that stay from epoch to epoch notice.

    Args:
        recording: From `open_recording`.
        samples: The data it was made from; by default those it keeps.
        check: Whether given samples are compared with the recorded ones. Switch it off only for
            samples that were compared before.
        classes: Where the teacher knows more classes than the data: `data` gathers the data's
            columns, before any softmax; `all` keeps all, and labels become columns.

    Raises:
        ConflictError: The samples are not the recorded ones; names the first that differs.
        NotFoundError: None are given and the recording keeps none.
        InvalidInputError: Other number of samples, or a label that is no class of the logits.
    """

    def __init__(
        self,
        recording: Recording,
        samples: SampleSet | None = None,
        *,
        check: bool = True,
        classes: Literal["data", "all"] = "data",
    ) -> None:
        if samples is None:
            samples = recording.samples()
        elif check:
            recording.check(samples)
        self._recording = recording
        keep_all = classes == "all" and recording.manifest.plan.class_map is not None
        self._columns = None if keep_all else _gathered_columns(recording)
        self._description = _describe(recording, samples, keep_all=keep_all)
        # Tensors, because torch hands them to spawned workers through shared memory.
        self._points_SND = _as_tensor(samples.points_SND)
        self._labels_S = _labels(samples, recording, self._description)
        _check_count(len(self._points_SND), recording)
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]

    def __repr__(self) -> str:
        return f"<RecordedViews of {self._recording!r}, view {self.view}>"

    @property
    def recording(self) -> Recording:
        """Where the records come from."""
        return self._recording

    @property
    def description(self) -> SourceDescription:
        """What it is, as far as a student trained from it depends on it."""
        return self._description

    @property
    def num_views(self) -> int:
        """V."""
        return self._recording.num_views

    @property
    def view(self) -> int:
        """The view that is given now."""
        return self.epoch % self.num_views

    @property
    def second_view(self) -> int:
        """The view that `second_batch` gives now."""
        return (self.epoch + 1) % self.num_views

    @property
    def epoch(self) -> int:
        """As it was set last, in this process or in the one that this one works for."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Give view `epoch` mod V from now on, in this process and in its loaders' workers.

        Of a remote recording, this view and the next are fetched in the background.

        Raises:
            InvalidInputError: It is negative.
        """
        if epoch < 0:
            raise InvalidInputError(f"epoch must be from 0 on, got {epoch}")
        self._epoch.fill_(epoch)
        views = self._recording.num_views
        self._recording.fetch_ahead(dict.fromkeys((epoch % views, (epoch + 1) % views)))

    def batch(self, indices: npt.ArrayLike) -> RecordedBatch:
        """Some samples of the view in this order: one read, one replay.

        Raises:
            InvalidInputError: A number is out of range.
            IncompleteError: The view is not recorded yet, or not in this copy.
            IntegrityError: A file of it is damaged.
        """
        return self._batch(self.view, indices)

    def second_batch(self, indices: npt.ArrayLike) -> RecordedBatch:
        """Some samples in the view after this one: what the next epoch will give, or view 0.

        Raises:
            InvalidInputError: A number is out of range.
            IncompleteError: That view is not recorded yet, or not in this copy.
            IntegrityError: A file of it is damaged.
        """
        return self._batch(self.second_view, indices)

    def teacher_logits(self, view: int, indices: npt.ArrayLike) -> Tensor:
        """What the teacher said of some samples in a view, (B, C), without their points.

        Raises:
            InvalidInputError: A number is out of range.
            IncompleteError: The view is not recorded yet, or not in this copy.
            IntegrityError: A file of it is damaged.
        """
        return self._gathered(self._recording.read(view, indices)[1])

    def _batch(self, view: int, indices: npt.ArrayLike) -> RecordedBatch:
        parameters, logits_BC = self._recording.read(view, indices)
        # Not the parameters' own addresses: a converted recording keeps those it was drawn by.
        index_B = torch.from_numpy(np.atleast_1d(np.asarray(indices)).astype(np.int64))
        return RecordedBatch(
            # Whole clouds at once; indexing copies number by number, twice as slowly.
            points=self._recording.replay(self._points_SND.index_select(0, index_B), parameters),
            teacher_logits=self._gathered(logits_BC),
            label=self._labels_S.index_select(0, index_B),
            index=index_B,
        )

    def _gathered(self, logits_BC: npt.NDArray[np.float32]) -> Tensor:
        if self._columns is not None:
            logits_BC = np.take(logits_BC, self._columns, axis=1)
        return torch.from_numpy(logits_BC)

    def __len__(self) -> int:
        return len(self._points_SND)

    @overload
    def __getitem__(self, index: int) -> RecordedSample: ...
    @overload
    def __getitem__(
        self, index: Sequence[int] | npt.NDArray[np.integer] | Tensor
    ) -> RecordedBatch: ...
    def __getitem__(self, index: object) -> RecordedSample | RecordedBatch:
        index_B = np.asarray(index)
        if index_B.ndim == 0:
            return RecordedSample(*(tensor[0] for tensor in self.batch(index_B[None])))
        return self.batch(index_B)

    def __getitems__(self, indices: list[int]) -> list[RecordedSample]:
        """What torch's loader asks for when it stacks samples itself."""
        return [RecordedSample(*tensors) for tensors in zip(*self.batch(indices), strict=True)]

    def __iter__(self) -> Iterator[RecordedSample]:
        return (self[index] for index in range(len(self)))


def normalizes(augmentation: Augmentation) -> bool:
    """Whether what the teacher saw was centred and scaled by the augmentation."""
    return any(operation.op == "normalize" for operation in augmentation.operations)


def _gathered_columns(recording: Recording) -> npt.NDArray[np.int64] | None:
    """The teacher's columns to take, None for all."""
    mapped = recording.manifest.plan.class_map is not None
    return recording.class_columns if mapped else None


def _describe(recording: Recording, samples: SampleSet, *, keep_all: bool) -> SourceDescription:
    columns = recording.class_columns
    return SourceDescription(
        header=recording.reader.header.digest,
        identity=recording.identity,
        num_classes=recording.num_classes if keep_all else len(columns),
        class_columns=tuple(columns.tolist()) if keep_all else None,
        class_names=samples.class_names or recording.manifest.classes.data,
        channels=recording.channels,
        labelled=samples.labels_S is not None,
        normalized=normalizes(recording.manifest.plan.augmentation),
    )


def _labels(samples: SampleSet, recording: Recording, description: SourceDescription) -> Tensor:
    if samples.labels_S is None:
        return torch.empty((len(samples), 0), dtype=torch.int64)
    labels_S = _as_tensor(samples.labels_S).to(torch.int64)
    columns = recording.class_columns
    wrong_S = labels_S >= len(columns)
    if wrong_S.any():
        sample = int(wrong_S.nonzero()[0])
        raise InvalidInputError(
            f"sample {sample} has label {int(labels_S[sample])}, but the recording's logits are "
            f"of classes 0 to {len(columns) - 1}; record with a class map, or give the "
            "labels of the recorded data"
        )
    return labels_S if description.class_columns is None else torch.from_numpy(columns)[labels_S]


def _check_count(num_samples: int, recording: Recording) -> None:
    if num_samples != recording.num_samples:
        raise InvalidInputError(
            f"{recording.where} has records of {recording.num_samples} samples, "
            f"got {num_samples}; give the data it was made from"
        )


def _as_tensor(array: npt.NDArray[np.float32] | npt.NDArray[np.int64]) -> Tensor:
    """Without a copy where torch can have the memory; it takes none that is read-only."""
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))
