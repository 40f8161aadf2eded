"""The demo's teacher: PointNet trained on the built-in shapes, from labels, freshly augmented.

python -m kdrec.cli.demo_teacher OUT CLOUDS POINTS EPOCHS
"""

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from kdrec.augment import parse_augmentation
from kdrec.cli.terminal import progress_bar
from kdrec.samples import SampleSet, make_shapes
from kdrec.student import EpochReport, RecordedBatch, SourceDescription, TrainSettings, train

_SEED = 0
_AUGMENTATION = parse_augmentation("scale=0.8:1.25,rotate_y=-30:30,translate=0.1,normalize")


class LabelledShapes:
    """The shapes with their labels, augmented anew in every epoch; there is no teacher yet."""

    def __init__(self, samples: SampleSet) -> None:
        assert samples.labels_S is not None
        assert samples.class_names is not None
        self._samples = samples
        self._labels_S = torch.from_numpy(samples.labels_S)
        self._epoch = 0

    @property
    def description(self) -> SourceDescription:
        names = self._samples.class_names or ()
        return SourceDescription(
            header="", num_classes=len(names), class_names=names, channels=self._samples.channels,
            labelled=True, normalized=True,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self._samples)

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def batch(self, indices: npt.ArrayLike) -> RecordedBatch:
        index_B = np.asarray(indices, dtype=np.int64)
        drawn = _AUGMENTATION.draw(_SEED, views=self._epoch, samples_B=index_B)
        points_BND = torch.from_numpy(self._samples.points_SND[index_B])
        return RecordedBatch(
            points=_AUGMENTATION.apply(points_BND, drawn, channels=self._samples.channels),
            teacher_logits=torch.zeros(len(index_B), self.description.num_classes),
            label=self._labels_S[index_B],
            index=torch.from_numpy(index_B),
        )


def main() -> None:
    """Train and leave the weights in OUT."""
    out, clouds, points, epochs = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    settings = TrainSettings(student="pointnet", epochs=epochs, labels_only=True)
    with progress_bar("teacher", "epochs") as bar:

        def show(report: EpochReport) -> None:
            note = f"test {100 * (report.test_accuracy or 0):.1f} %"
            bar.update(report.epoch + 1, epochs, note)

        train(
            LabelledShapes(make_shapes(clouds, seed=0, num_points=points)),
            settings,
            out,
            test=make_shapes(600, seed=1, num_points=points),
            on_progress=show,
        )


if __name__ == "__main__":
    main()
