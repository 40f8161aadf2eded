"""What a training loop takes its batches from: a recording, or a teacher that is there itself.

Shape letters: B batch, N points, D channels, C classes of the data.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from kdrec import rng
from kdrec.errors import InvalidInputError

Indices: TypeAlias = npt.NDArray[np.int64]

_ORDER_STREAM = 0x5D00


class RecordedBatch(NamedTuple):
    """Samples of one view, stacked.

    Attributes:
        points: As the teacher saw them, (B, N, D) float32.
        teacher_logits: Of the data's classes, (B, C) float32.
        label: (B,) int64; (B, 0) where the data have no labels, so that nothing passes for one.
        index: Sample numbers, (B,) int64.
    """

    points: Tensor
    teacher_logits: Tensor
    label: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which no batch needs

    def to(self, device: Any) -> "RecordedBatch":
        """The batch on a device."""
        return RecordedBatch(*(tensor.to(device, non_blocking=True) for tensor in self))


Views: TypeAlias = tuple[RecordedBatch, ...]


class SourceDescription(BaseModel):
    """What a student is trained from; kept with its weights.

    Attributes:
        header: Digest of the recording's header, which plan, samples and proof records determine.
        identity: The recording's name among all; None while it is recorded.
        num_classes: C.
        class_names: Of the data, where they have names.
        class_columns: The logit of each class of the data, where the student has more; None where
            logits and classes are the same.
        channels: Columns of a point.
        labelled: Whether the samples have labels.
        normalized: Whether the views are centred and scaled, so that test data must be too.
        all_logits: Whether the logits of all classes were recorded; of a recording of the largest
            alone, the others are made up by a rule.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def num_data_classes(self) -> int:
        """Classes that a label of the data can name."""
        return self.num_classes if self.class_columns is None else len(self.class_columns)

    header: str
    identity: str | None = None
    num_classes: int
    class_names: tuple[str, ...] | None = None
    class_columns: tuple[int, ...] | None = None
    channels: tuple[str, ...]
    labelled: bool = True
    normalized: bool = False
    all_logits: bool = True


class BatchSource(Protocol):
    """Gives the batches of an epoch; `RecordedViews` is one."""

    @property
    def description(self) -> SourceDescription:
        """What it is, as far as a student trained from it depends on it."""

    def __len__(self) -> int:
        """Number of samples."""

    def set_epoch(self, epoch: int) -> None:
        """Give the batches of this epoch from now on."""

    def batch(self, indices: npt.ArrayLike) -> RecordedBatch:
        """Some samples of the epoch, in this order."""


@runtime_checkable
class TwoViewSource(BatchSource, Protocol):
    """A source that can show the same samples in a second view."""

    @property
    def num_views(self) -> int:
        """V."""

    def second_batch(self, indices: npt.ArrayLike) -> RecordedBatch:
        """Some samples of the epoch, in this order, in another view than `batch` gives."""


class ShuffledBatches(Sampler[Indices]):
    """Every sample once an epoch, in an order that seed and epoch alone determine.

    No generator's state is read or kept, so that an epoch is the same whether or not those before
    it ran in this process. A last batch of one sample joins the one before it, because batch
    normalisation cannot train on a single sample.

    Args:
        num_samples: To shuffle.
        batch_size: Samples of a batch; the last one has what is left.
        seed: From 0 to 2^64 - 1.
        rank: Of several processes that share each batch, this one.
        num_processes: How many they are.

    Raises:
        InvalidInputError: The numbers do not go together.
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        *,
        seed: int,
        rank: int = 0,
        num_processes: int = 1,
    ) -> None:
        _check_shares(batch_size, rank=rank, num_processes=num_processes)
        self._num_samples = num_samples
        self._batch_size = batch_size
        self._seed = seed
        self._rank = rank
        self._num_processes = num_processes
        self._epoch = 0
        self._start = 0

    def set_epoch(self, epoch: int, *, start: int = 0) -> None:
        """Give the order of this epoch from now on.

        Args:
            epoch: Its number.
            start: Samples of it, over all processes, that were given before: what comes is the
                rest, in the same order whatever the batch size and the number of processes were.
        """
        self._epoch, self._start = epoch, start

    def __len__(self) -> int:
        return len(self._edges()) - 1

    def __iter__(self) -> Iterator[Indices]:
        words = rng.words(
            self._seed,
            view=self._epoch,
            stream=_ORDER_STREAM,
            samples_B=[0],
            num_words=self._num_samples,
        )
        order = rng.permutation(words)[0]
        for start, end in pairwise(self._edges()):
            yield order[start:end][self._rank :: self._num_processes]

    def sizes(self) -> list[int]:
        """Samples of each batch, over all processes."""
        return [end - start for start, end in pairwise(self._edges())]

    def _edges(self) -> list[int]:
        """Where batches begin and end in the order of the epoch."""
        starts = list(range(self._start, self._num_samples, self._batch_size))
        fewest = min(2 * self._num_processes, self._batch_size)
        if len(starts) > 1 and self._num_samples - starts[-1] < fewest:
            del starts[-1]
        return [*starts, self._num_samples]


def _check_shares(batch_size: int, *, rank: int, num_processes: int) -> None:
    if not 0 <= rank < num_processes:
        raise InvalidInputError(f"rank must be from 0 to {num_processes - 1}, got {rank}")
    if batch_size < num_processes:
        raise InvalidInputError(
            f"batch_size is of all processes together and must be at least {num_processes}, so "
            f"that each has a sample of a batch, got {batch_size}"
        )


class _WholeBatches(Dataset[Views]):
    """A source as torch's loader wants it: an item is a batch, in one view or two."""

    def __init__(self, source: BatchSource, two_views: bool) -> None:
        self._source = source
        self._two_views = two_views

    def __getitem__(self, indices: Sequence[int]) -> Views:
        first = self._source.batch(indices)
        if self._two_views and isinstance(self._source, TwoViewSource):
            return first, self._source.second_batch(indices)
        return (first,)


def check_two_views(source: BatchSource) -> None:
    """Whether a source can show the same samples in two views.

    Raises:
        InvalidInputError: It has one view, or gives one at a time.
    """
    if not isinstance(source, TwoViewSource):
        raise InvalidInputError(
            "this loss looks at two views of a batch, but the source gives one; use a recording"
        )
    if source.num_views < 2:
        raise InvalidInputError(
            "this loss looks at two views of a batch, but the recording has 1; record at least 2"
        )


def make_loader(
    source: BatchSource,
    order: ShuffledBatches,
    *,
    num_workers: int,
    pin_memory: bool,
    two_views: bool = False,
) -> DataLoader[Views]:
    """A loader of whole batches; with workers, they stay from epoch to epoch."""
    # Without a generator of its own a loader draws seeds for its workers from the global one, once
    # in the life of the workers: dropout would then differ after a resume.
    return DataLoader(
        _WholeBatches(source, two_views),
        batch_size=None,
        sampler=order,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=pin_memory,
        generator=torch.Generator(),
    )
