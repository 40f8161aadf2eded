"""Clouds and logits as tensors in memory, with the replay that a recording's augmentation does.

Shape letters: V views, S samples, C classes, N points, B batch.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset

from bench.peers.recorded import RECORDING
from bench.peers.recorded_views import CLOUDS, sample_order
from bench.peers.records import Epochs
from kdrec.augment import ViewParameters
from kdrec.client import open_recording

Batch = tuple[Tensor, Tensor]


class TensorViews(Dataset[Batch]):
    """What `RecordedViews` gives, from tensors: no reader, no check of an index.

    Args:
        folder: Of a recording and its clouds; read whole, then left alone.
    """

    def __init__(self, folder: Path) -> None:
        recording = open_recording(folder / RECORDING)
        found = [recording.read(view) for view in range(recording.num_views)]
        self._augmentation = recording.manifest.plan.augmentation
        self._drawn_V: list[ViewParameters] = [drawn for drawn, _ in found]
        self._logits_VSC = torch.from_numpy(np.stack([logits_SC for _, logits_SC in found]))
        self._clouds_SN3 = torch.from_numpy(np.load(folder / CLOUDS))
        self.view = 0

    def __len__(self) -> int:
        return len(self._clouds_SN3)

    @property
    def num_views(self) -> int:
        """V."""
        return len(self._drawn_V)

    def __getitem__(self, index: Sequence[int]) -> Batch:
        index_B = torch.as_tensor(index)
        points_BN3 = self._clouds_SN3[index_B]
        if self._augmentation.operations:
            drawn = self._drawn_V[self.view].rows(index_B.numpy())
            points_BN3 = self._augmentation.apply(points_BN3, drawn)
        return points_BN3, self._logits_VSC[self.view, index_B]


def opened(folder: Path, batch: int, shuffled: bool) -> Epochs:
    """View after view."""
    views = TensorViews(folder)
    sampler = BatchSampler(sample_order(views, shuffled), batch, drop_last=False)
    loader: DataLoader[Batch] = DataLoader(views, sampler=sampler, batch_size=None)

    def epochs(run: int) -> Iterator[int]:
        for view in range(views.num_views):
            views.view = view
            for points_BN3, _ in loader:
                yield len(points_BN3)

    return epochs
