"""Points and logits of a recording through `RecordedViews` and torch's loader, without workers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, Sampler, SequentialSampler

from bench.peers.recorded import RECORDING
from bench.peers.records import Epochs
from kdrec.client import open_recording
from kdrec.samples import SampleSet
from kdrec.student import RecordedViews

CLOUDS = "clouds.npy"


def batches(folder: Path, batch: int, shuffled: bool) -> Epochs:
    """An item is a batch: one read and one replay."""
    views = _views(folder)
    sampler = BatchSampler(sample_order(views, shuffled), batch, drop_last=False)
    return _epochs(views, DataLoader(views, sampler=sampler, batch_size=None))


def samples(folder: Path, batch: int, shuffled: bool) -> Epochs:
    """Items are samples, which the loader stacks again."""
    views = _views(folder)
    order = sample_order(views, shuffled)
    return _epochs(views, DataLoader(views, sampler=order, batch_size=batch))


def sample_order(dataset: Any, shuffled: bool) -> Sampler[int]:
    """As torch shuffles, without its global generator."""
    if not shuffled:
        return SequentialSampler(dataset)
    return RandomSampler(dataset, generator=torch.Generator().manual_seed(0))


def _views(folder: Path) -> RecordedViews:
    recording = open_recording(folder / RECORDING)
    clouds = SampleSet(points_SND=np.load(folder / CLOUDS), channels=recording.channels)
    # The benchmark's recordings keep no true digests of their samples.
    return RecordedViews(recording, clouds, check=False)


def _epochs(views: RecordedViews, loader: DataLoader[Any]) -> Epochs:
    def epochs(run: int) -> Iterator[int]:
        for view in range(views.num_views):
            views.set_epoch(view)
            for found in loader:
                yield len(found.points)

    return epochs
