"""Small recordings without a teacher, and the samples they are said to be of.

Shape letters: V views, S samples, N points, D channels, C classes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kdrec.client import Recording
from kdrec.errors import NotFoundError
from kdrec.samples import SampleSet
from kdrec.store import BlockGrid
from kdrec.testing import make_logits, make_plan
from kdrec.testing import make_recording as write_recording

NUM_CLASSES = 5
NUM_SAMPLES = 41
NUM_POINTS = 24
NUM_VIEWS = 3


class MemoryStorage:
    """Files in memory: a recording has a few dozen, and flushing each to a disk takes long."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}

    def read(self, key: str) -> bytes:
        if key not in self._files:
            raise NotFoundError(f"no file {key}")
        return self._files[key]

    def keys(self, prefix: str = "") -> Iterator[str]:
        return iter(sorted(key for key in self._files if key.startswith(prefix)))

    def write(self, key: str, data: bytes) -> None:
        self._files[key] = data

    def size(self, key: str) -> int:
        return len(self.read(key))

    def delete(self, key: str) -> None:
        self._files.pop(key, None)


def make_samples(num_samples: int = NUM_SAMPLES, *, seed: int = 0) -> SampleSet:
    """Clouds that a student can tell apart: each class stretches its own axes."""
    generator = np.random.default_rng(seed)
    labels_S = np.arange(num_samples) % NUM_CLASSES
    stretch_S3 = 0.2 + np.stack([labels_S % 2, labels_S // 2 % 2, labels_S // 4], axis=1)
    points_SND = generator.normal(size=(num_samples, NUM_POINTS, 3)) * stretch_S3[:, None]
    return SampleSet(
        points_SND=points_SND.astype(np.float32),
        channels=("x", "y", "z"),
        labels_S=labels_S.astype(np.int64),
        class_names=tuple(f"class_{c}" for c in range(NUM_CLASSES)),
        names=tuple(f"cloud_{s}" for s in range(num_samples)),
    )


def record(
    samples: SampleSet | None = None,
    *,
    teacher_classes: int = NUM_CLASSES,
    committed_views: int | None = None,
    **plan_arguments: Any,
) -> Recording:
    """A recording in memory, sealed if all its views are committed."""
    samples = make_samples() if samples is None else samples
    wanted = {"views": NUM_VIEWS, "group": 1, "block_samples": 24, **plan_arguments}
    plan = make_plan(samples, **wanted)
    blocks = None if committed_views is None else committed_views * BlockGrid.of(plan).num_parts
    storage, where = MemoryStorage(), Path("test.zarr")
    write_recording(
        where, samples, plan=plan, num_classes=teacher_classes, storage=storage, blocks=blocks
    )
    return Recording(storage, where=str(where))


def teacher_logits(recording: Recording) -> npt.NDArray[np.float32]:
    """What its teacher said, (V, S, C)."""
    return make_logits(recording.manifest.plan, recording.num_classes)
