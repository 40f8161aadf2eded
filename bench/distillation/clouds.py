"""The real clouds, the real teacher, its recordings, and what a student can be trained from.

Shape letters: B batch, N points, D channels, C classes of the data.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from bench.distillation.given_views import GIVEN, write_given
from kdrec.augment import Augmentation, parse_augmentation
from kdrec.client import Recording, open_recording
from kdrec.recorder import (
    RecordProgress,
    RecordRequest,
    Teacher,
    TeacherOptions,
    load_teacher,
    record,
)
from kdrec.samples import SampleSet, load_samples
from kdrec.student import BatchSource, RecordedBatch, SourceDescription

AUGMENTATION = parse_augmentation("scale=0.9:1.1,rotate_y=-15:15,translate=0.05,normalize")
_LIVE_SEED = 1000
_TEACHER_BATCH = 32


@dataclass(frozen=True)
class Clouds:
    """Where the real data lie, and in which size they are used.

    Attributes:
        data: Folder with `clouds/` and `teachers/`.
        work: Folder for recordings and results.
        points: Of a cloud, the farthest from each other.
        views: Of the recordings.
        per_class: Clouds of each class to train on, the first ones; None for all.
    """

    data: Path
    work: Path
    points: int
    views: int
    per_class: int | None = None

    @property
    def file(self) -> Path:
        """The clouds, with their labels and class map."""
        return self.data / "clouds" / "modelnet10_test908_1024.npz"

    @cached_property
    def train(self) -> SampleSet:
        """Split 0, or some of it."""
        samples = self._load("split=0")
        if self.per_class is None:
            return samples
        assert samples.labels_S is not None
        rows = [np.flatnonzero(samples.labels_S == label) for label in np.unique(samples.labels_S)]
        return samples.rows(np.sort(np.concatenate([row[: self.per_class] for row in rows])))

    @cached_property
    def test(self) -> SampleSet:
        """Split 1."""
        return self._load("split=1")

    @property
    def class_map(self) -> tuple[int, ...]:
        """The teacher's column of each class."""
        with np.load(self.file) as found:
            return tuple(found["modelnet40_index"].tolist())

    def teacher(self) -> Teacher:
        """The PointNet that was trained on ModelNet40."""
        weights = self.data / "teachers" / "pointnet_modelnet40.npz"
        return load_teacher(TeacherOptions(factory="pointnet", weights=weights))

    def recorded(self, source: str) -> Recording:
        """What it said of every view, without the teacher being loaded."""
        return open_recording(self._path(source))

    def recordings(self, source: str) -> list[Recording]:
        """One for each teacher of a source: a plus stands between them."""
        return [self.recording(one) for one in source.split("+")]

    def recording(self, source: str) -> Recording:
        """What a teacher says of every view, recorded now where it is not yet.

        Args:
            source: An encoding; after a colon its dial: `compact:2.5e-3` a divergence, `topk:3`
                classes kept. Or whose recording of the given views, see `given_views`.
        """
        path = self._path(source)
        if source in GIVEN:
            return self._given(source, path)
        encoding, _, dial = source.partition(":")
        request = RecordRequest(
            out=path,
            teacher=self.teacher().options,
            augmentation=AUGMENTATION,
            views=self.views,
            group=1,
            encoding=encoding,
            max_kl=float(dial) if dial and encoding == "compact" else None,
            kept=int(dial) if dial and encoding == "topk" else None,
            class_map=self.class_map,
            point_choice="farthest",
            threads=1,
        )
        record(request, self.teacher(), self.train, _Silent())
        return open_recording(path)

    def _given(self, source: str, path: Path) -> Recording:
        if not path.exists():
            with np.load(self.file) as found:
                rows_S = np.flatnonzero(found["split"] == 0)
            write_given(
                path,
                self.data / "logits" / "densepoint_views.npz",
                samples=self.train,
                rows_S=rows_S,
                class_map=self.class_map,
                teacher=self.teacher() if source == "pointnet" else None,
            )
        return open_recording(path)

    def _path(self, source: str) -> Path:
        some = "" if self.per_class is None else f"-c{self.per_class}"
        return self.work / f"n{self.points}-v{self.views}{some}-{source.replace(':', '-')}.zarr"

    def _load(self, split: str) -> SampleSet:
        return load_samples(
            str(self.file), split=split, num_points=self.points, point_choice="farthest"
        )


class _Silent:
    def on_probe(self, report: object, score: object) -> None: ...

    def on_wait(self) -> None: ...
    def on_found(self, found: object) -> None: ...

    def on_progress(self, progress: RecordProgress) -> None: ...


class FewerViews:
    """What was recorded, of which only the first views are kept.

    Args:
        views: All of them.
        count: Kept.
    """

    def __init__(self, views: BatchSource, count: int) -> None:
        self._views = views
        self.num_views = count
        self._epoch = 0

    @property
    def description(self) -> SourceDescription:
        return self._views.description

    def __len__(self) -> int:
        return len(self._views)

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def batch(self, indices: npt.ArrayLike) -> RecordedBatch:
        self._views.set_epoch(self._epoch % self.num_views)
        return self._views.batch(indices)

    def second_batch(self, indices: npt.ArrayLike) -> RecordedBatch:
        self._views.set_epoch((self._epoch + 1) % self.num_views)
        return self._views.batch(indices)


class LiveTeacher:
    """A teacher beside the student, asked about views that no one has seen before.

    Args:
        clouds: Its data and its weights.
        seed: Of the student; views differ from student to student.
    """

    def __init__(self, clouds: Clouds, *, seed: int) -> None:
        self._samples = clouds.train
        self._teacher = clouds.teacher()
        self._columns = list(clouds.class_map)
        self._seed = _LIVE_SEED + seed
        self._epoch = 0

    @property
    def description(self) -> SourceDescription:
        return SourceDescription(
            header="live",
            num_classes=len(self._columns),
            class_names=self._samples.class_names,
            channels=self._samples.channels,
            normalized=True,
        )

    def __len__(self) -> int:
        return len(self._samples)

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def batch(self, indices: npt.ArrayLike) -> RecordedBatch:
        index_B = np.asarray(indices, dtype=np.int64)
        points_BND = torch.from_numpy(self._samples.points_SND[index_B])
        drawn = AUGMENTATION.draw(self._seed, views=self._epoch, samples_B=index_B)
        seen_BND = AUGMENTATION.apply(points_BND, drawn, channels=self._samples.channels)
        assert self._samples.labels_S is not None
        return RecordedBatch(
            points=seen_BND,
            teacher_logits=self._teacher.logits(seen_BND)[:, self._columns],
            label=torch.from_numpy(self._samples.labels_S[index_B]),
            index=torch.from_numpy(index_B),
        )


def teacher_accuracy(clouds: Clouds, augmentation: Augmentation) -> float:
    """Of the teacher among the data's classes, on view 0 of the test clouds."""
    samples, teacher = clouds.test, clouds.teacher()
    drawn = augmentation.draw(0, views=0, samples_B=np.arange(len(samples)))
    seen_SND = augmentation.apply(torch.from_numpy(samples.points_SND), drawn)
    logits_SC = torch.cat([teacher.logits(part) for part in seen_SND.split(_TEACHER_BATCH)])
    said_S = logits_SC[:, list(clouds.class_map)].argmax(dim=1).numpy()
    return float((said_S == samples.labels_S).mean())


@contextmanager
def one_thread() -> Iterator[None]:
    """More threads cost these small networks more than they gain, and change the last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
