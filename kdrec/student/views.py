"""The recorded views of a data set as a torch data set: no teacher, and no generator either.

Shape letters: S samples, B batch, N points, D channels, C classes of the data.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, TypeAlias, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from kdrec.augment import Augmentation
from kdrec.client import Recording
from kdrec.errors import InvalidInputError
from kdrec.samples import SampleSet
from kdrec.student.batches import RecordedBatch, SourceDescription
from kdrec.student.pairing import is_moved_as_a_whole
from kdrec.student.view_schedule import ViewOrder, ViewSchedule, choose_views

Transform: TypeAlias = Callable[[Tensor], Tensor]
Numbers: TypeAlias = npt.NDArray[np.int64]


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

    Other views, their order and several a step are arguments.

    One number gives a `RecordedSample`, a list or array of numbers a `RecordedBatch` without any
    work per sample. So both of these loaders are fast, the second more so:

        DataLoader(views, batch_size=32, shuffle=True)
        DataLoader(views, sampler=BatchSampler(RandomSampler(views), 32, False), batch_size=None)

    Call `set_epoch` before each epoch; workers that stay from epoch to epoch notice.

    Args:
        recording: From `open_recording`.
        samples: The data it was made from; by default those it keeps.
        subset: Numbers of samples, of those given or kept; only these are there then, numbered
            anew from 0, and only their blocks are fetched ahead.
        views: Numbers of the views that are read; all by default.
        view_order: `cycle`, or `random`: each view once in a pass, see `ViewSchedule`.
        views_per_step: How many views of each sample an epoch reads. With K of them a batch of B
            numbers has K times B rows: all samples in the first view, then all in the second.
        seed: Of a random order of views.
        align: `order` refuses given samples in another order than the recorded one; `digest` finds
            each by its content, and they keep the numbers that they have here.
        check: Whether given samples are compared with the recorded ones. Switch it off only for
            samples that were compared before.
        classes: Where the teacher knows more classes than the data: `data` gathers the data's
            columns, before any softmax; `all` keeps all, and labels become columns.
        transform: Applied to the replayed points of each batch, (B, N, D), such as noise on each
            point. What changes the shape as a whole breaks the pairing with the recorded logits;
            the first batch is looked at, and a warning given where that is seen.
        device: Where the samples lie, views are replayed and batches come from. The CPU for a
            loader with workers; without, the student's own.

    Raises:
        ConflictError: The samples are not the recorded ones; names the first that differs.
        NotFoundError: None are given and the recording keeps none.
        InvalidInputError: Other number of samples, or a label that is no class of the logits; a
            sample or view that the recording does not have.
    """

    def __init__(
        self,
        recording: Recording,
        samples: SampleSet | None = None,
        *,
        subset: npt.ArrayLike | None = None,
        views: Iterable[int] | None = None,
        view_order: ViewOrder = "cycle",
        views_per_step: int = 1,
        seed: int = 0,
        align: Literal["order", "digest"] = "order",
        check: bool = True,
        classes: Literal["data", "all"] = "data",
        transform: Transform | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        own = samples is not None
        samples = recording.samples() if samples is None else samples
        order_S = None
        if own and (check or align != "order"):
            order_S = _recorded_order(recording, samples, align)
        _check_count(len(samples), recording)
        # None where samples have the numbers that they were recorded by.
        self._numbers_S = None if order_S is None else np.argsort(order_S)
        if subset is not None:
            chosen = _sample_numbers(subset, len(samples))
            samples = samples.rows(chosen)
            self._numbers_S = chosen if self._numbers_S is None else self._numbers_S[chosen]
        self._recording = recording
        self._schedule = ViewSchedule(
            views=choose_views(views, recording.num_views),
            group=recording.manifest.plan.group,
            order=view_order,
            per_step=views_per_step,
            seed=seed,
        )
        keep_all = classes == "all" and recording.manifest.plan.class_map is not None
        self._columns = None if keep_all else _gathered_columns(recording)
        self._description = _describe(recording, samples, keep_all=keep_all)
        # Tensors, because torch hands them to spawned workers through shared memory.
        self._points_SND = _as_tensor(samples.points_SND).to(device)
        self._labels_S = _labels(samples, recording, self._description).to(device)
        self._transform = transform
        self._transform_seen = False
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
        """Views that are read, over all epochs."""
        return len(self._schedule.views)

    @property
    def views_per_step(self) -> int:
        """Views that an epoch reads of each sample."""
        return self._schedule.per_step

    @property
    def view(self) -> int:
        """The view that is given now, the first of several."""
        return self._schedule.of_epoch(self.epoch)[0]

    @property
    def second_view(self) -> int:
        """The view that `second_batch` gives now."""
        return self._schedule.second(self.epoch)

    @property
    def epoch(self) -> int:
        """As it was set last, in this process or in the one that this one works for."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Give the view of this epoch from now on, in this process and in its loaders' workers.

        Of a running recording it is waited for, if it was opened with `wait`. Of a remote one, it
        and that of the next epoch are fetched in the background.

        Raises:
            InvalidInputError: It is negative.
            IncompleteError: It was not recorded in time.
        """
        if epoch < 0:
            raise InvalidInputError(f"epoch must be from 0 on, got {epoch}")
        self._epoch.fill_(epoch)
        now, later = self._schedule.of_epoch(epoch), self._schedule.of_epoch(epoch + 1)
        self._recording.await_views(now)  # here, because each worker would ask the server
        self._recording.fetch_ahead(dict.fromkeys((*now, *later)), self._numbers_S)

    def batch(self, indices: npt.ArrayLike) -> RecordedBatch:
        """Some samples of the epoch's views in this order: one read, one replay.

        Raises:
            InvalidInputError: A number is out of range.
            IncompleteError: The view is not recorded yet, or not in this copy.
            IntegrityError: A file of it is damaged.
        """
        return self._batch(self._schedule.of_epoch(self.epoch), indices)

    def second_batch(self, indices: npt.ArrayLike) -> RecordedBatch:
        """Some samples in another view than the first of the epoch: the next of the pass.

        Raises:
            InvalidInputError: A number is out of range.
            IncompleteError: That view is not recorded yet, or not in this copy.
            IntegrityError: A file of it is damaged.
        """
        return self._batch((self.second_view,), indices)

    def recorded_numbers(self) -> Numbers:
        """By which each sample was recorded, (S,)."""
        return np.arange(len(self)) if self._numbers_S is None else self._numbers_S

    def teacher_logits(self, view: int, indices: npt.ArrayLike) -> Tensor:
        """What the teacher said of some samples in a view, (B, C), without their points.

        Raises:
            InvalidInputError: A number is out of range.
            IncompleteError: The view is not recorded yet, or not in this copy.
            IntegrityError: A file of it is damaged.
        """
        return self._gathered(self._recording.read(view, self._recorded(indices))[1])

    def _batch(self, views: Sequence[int], indices: npt.ArrayLike) -> RecordedBatch:
        self._check_place()
        index = np.atleast_1d(np.asarray(indices))
        view_B: npt.ArrayLike = views[0]
        if len(views) > 1:
            view_B, index = np.repeat(views, len(index)), np.tile(index, len(views))
        parameters, logits_BC = self._recording.read(view_B, self._recorded(index))
        # Not the parameters' own addresses: a converted recording keeps those it was drawn by.
        index_B = torch.from_numpy(index.astype(np.int64)).to(self._points_SND.device)
        # Whole clouds at once; indexing copies number by number, twice as slowly.
        seen_BND = self._points_SND.index_select(0, index_B)
        points_BND = self._recording.replay(seen_BND, parameters)
        return RecordedBatch(
            points=points_BND if self._transform is None else self._transformed(points_BND),
            teacher_logits=self._gathered(logits_BC),
            label=self._labels_S.index_select(0, index_B),
            index=index_B,
        )

    def _check_place(self) -> None:
        """Whether this process may use the device.

        Raises:
            InvalidInputError: It is a loader's worker, and the device a GPU.
        """
        device = self._points_SND.device
        if device.type != "cpu" and get_worker_info() is not None:
            raise InvalidInputError(
                f"a loader's workers cannot replay on {device}; take num_workers=0, or "
                "device='cpu' and send batches there with batch.to"
            )

    def _recorded_numbers(self) -> Numbers:
        return np.arange(len(self)) if self._numbers_S is None else self._numbers_S

    def _recorded(self, indices: npt.ArrayLike) -> npt.ArrayLike:
        """The numbers by which samples were recorded."""
        if self._numbers_S is None:
            return indices
        numbers: Numbers = self._numbers_S[_sample_numbers(indices, len(self))]
        return numbers

    def _transformed(self, points_BND: Tensor) -> Tensor:
        assert self._transform is not None
        if self._transform_seen:
            return self._transform(points_BND)
        self._transform_seen = True
        before_BN3 = points_BND[..., :3].cpu().numpy().copy()  # a transform may work in place
        changed_BND = self._transform(points_BND)
        if is_moved_as_a_whole(before_BN3, changed_BND[..., :3].detach().cpu().numpy()):
            warnings.warn(
                "the transform scales, turns, mirrors or shifts whole shapes: the recorded logits "
                "are the teacher's answer to the shapes before; record the augmentation instead, "
                "and transform single points only",
                stacklevel=2,
            )
        return changed_BND

    def _gathered(self, logits_BC: npt.NDArray[np.float32]) -> Tensor:
        if self._columns is not None:
            logits_BC = np.take(logits_BC, self._columns, axis=1)
        return torch.from_numpy(logits_BC).to(self._points_SND.device)

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
            if self.views_per_step > 1:
                raise InvalidInputError(
                    f"a sample has {self.views_per_step} views in each step, not one; ask for a "
                    f"list: views[[{index}]]"
                )
            return RecordedSample(*(tensor[0] for tensor in self.batch(index_B[None])))
        return self.batch(index_B)

    def __getitems__(self, indices: list[int]) -> list[RecordedSample]:
        """What torch's loader asks for when it stacks samples itself."""
        return [RecordedSample(*tensors) for tensors in zip(*self.batch(indices), strict=True)]

    def __iter__(self) -> Iterator[RecordedSample]:
        return (self[index] for index in range(len(self)))


def _recorded_order(
    recording: Recording, samples: SampleSet, align: Literal["order", "digest"]
) -> Numbers | None:
    """By which the samples are in recorded order; None where they are."""
    if align not in ("order", "digest"):
        raise InvalidInputError(f"align must be 'order' or 'digest', got {align!r}")
    return recording.check(samples, permute=align == "digest")


def _sample_numbers(numbers: npt.ArrayLike, count: int) -> Numbers:
    """One axis of numbers from 0 to count - 1."""
    found = np.atleast_1d(np.asarray(numbers))
    if found.ndim != 1 or (found.size and not np.issubdtype(found.dtype, np.integer)):
        raise InvalidInputError(f"samples must be a list of whole numbers, got {numbers!r}")
    wrong = found[(found < 0) | (found >= count)]
    if wrong.size:
        raise InvalidInputError(f"sample must be from 0 to {count - 1}, got {wrong[0]}")
    return found.astype(np.int64)


def check_one_view_a_step(views: RecordedViews) -> None:
    """Whether a batch has as many rows as samples.

    Raises:
        InvalidInputError: It has more.
    """
    if views.views_per_step > 1:
        raise InvalidInputError(
            f"views_per_step is {views.views_per_step}, but train and a mix of teachers read one "
            "view a step; use a loop of your own, or views_per_step=1"
        )


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
        all_logits=_keeps_all_logits(recording),
    )


def _keeps_all_logits(recording: Recording) -> bool:
    manifest = recording.manifest
    kept = manifest.plan.encoding.kept
    of_some = manifest.origin is not None and manifest.origin.encoding == "topk"
    return not of_some and (kept is None or kept >= recording.num_classes)


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
