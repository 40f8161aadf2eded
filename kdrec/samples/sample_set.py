"""The samples of a data set, preprocessed and not augmented; see `kdrec.samples.room`.

Shape letters: S samples, N points, D channels.
"""

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kdrec.augment import check_channels
from kdrec.errors import InvalidInputError
from kdrec.samples.room import copy_rows

Points: TypeAlias = npt.NDArray[np.float32]
Labels: TypeAlias = npt.NDArray[np.int64]
_SAMPLES_AT_ONCE = 1024
_GREATEST = 1e18  # the squares of greater coordinates overflow, and a network would see zeros


@dataclass(frozen=True, slots=True, eq=False)
class SampleSet:
    """See the module; checked when it is made.

    Attributes:
        points_SND: float32, finite.
        channels: Names of the D columns, x, y, z first.
        labels_S: Class of each sample, from 0; None without labels.
        class_names: In the order of the labels; None where the source has none.
        names: Of the samples; None where the source has none.

    Raises:
        InvalidInputError: Shapes do not fit, or a value is not finite; names the first sample.
    """

    points_SND: npt.NDArray[np.float32]
    channels: tuple[str, ...]
    labels_S: npt.NDArray[np.int64] | None = None
    class_names: tuple[str, ...] | None = None
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_channels(self.channels)
        _check_points(self.points_SND, self.channels)
        for what, values in (("labels", self.labels_S), ("names", self.names)):
            if values is not None and len(values) != len(self):
                raise InvalidInputError(f"{len(values)} {what} do not go with {len(self)} samples")
        _check_labels(self.labels_S, self.class_names)

    def __len__(self) -> int:
        return len(self.points_SND)

    @property
    def num_points(self) -> int:
        """N."""
        return int(self.points_SND.shape[1])

    def rows(self, index: npt.NDArray[Any]) -> "SampleSet":
        """Some of the samples, in the order of the index."""
        places = np.arange(len(self))[index]
        return replace(
            self,
            points_SND=copy_rows(self.points_SND, places),
            labels_S=None if self.labels_S is None else self.labels_S[index],
            names=None if self.names is None else tuple(np.array(self.names)[index].tolist()),
        )


def describe_sample(sample: int, names: tuple[str, ...] | None) -> str:
    """`sample 17 (chair_0042)`, or `sample 17` without names."""
    return f"sample {sample}" + ("" if names is None else f" ({names[sample]})")


def _check_points(points_SND: npt.NDArray[np.float32], channels: tuple[str, ...]) -> None:
    if points_SND.ndim != 3 or points_SND.shape[2] != len(channels):
        raise InvalidInputError(
            f"points must have shape (samples, points, {len(channels)}) for the channels "
            f"{', '.join(channels)}, got {points_SND.shape}"
        )
    if 0 in points_SND.shape:
        raise InvalidInputError(f"there must be samples and points, got shape {points_SND.shape}")
    if points_SND.dtype != np.float32:
        raise InvalidInputError(f"points must be float32, got {points_SND.dtype}")
    wrong = np.concatenate(
        [
            ~(np.abs(points_SND[start : start + _SAMPLES_AT_ONCE]) <= _GREATEST).all(axis=(1, 2))
            for start in range(0, len(points_SND), _SAMPLES_AT_ONCE)
        ]
    )
    if wrong.any():
        raise InvalidInputError(
            f"sample {int(np.argmax(wrong))} holds coordinates that are NaN, infinite or beyond "
            f"{_GREATEST:g} ({int(wrong.sum())} samples do); remove or repair them"
        )


def _check_labels(
    labels_S: npt.NDArray[np.int64] | None, class_names: tuple[str, ...] | None
) -> None:
    if labels_S is None:
        return
    if labels_S.dtype != np.int64 or labels_S.ndim != 1:
        raise InvalidInputError(
            f"labels must be one int64 a sample, got {labels_S.dtype} of shape {labels_S.shape}"
        )
    most = np.iinfo(np.int64).max if class_names is None else len(class_names) - 1
    wrong = (labels_S < 0) | (labels_S > most)
    if wrong.any():
        sample = int(np.argmax(wrong))
        raise InvalidInputError(
            f"label of sample {sample} is {int(labels_S[sample])}; allowed are 0 to {most}"
        )
