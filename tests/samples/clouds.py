"""Small data for the tests of samples, without numpy's global random state."""

import numpy as np
import numpy.typing as npt

from kdrec.samples import SampleSet

FloatArray = npt.NDArray[np.float32]


def random_points(
    samples: int = 6, points: int = 40, channels: int = 3, *, key: int = 1
) -> FloatArray:
    """Values in [-1, 1), the same every time."""
    words = np.random.Philox(key=key).random_raw(samples * points * channels)
    values = (words >> np.uint64(40)).astype(np.float32) / np.float32(2**23) - np.float32(1)
    return values.reshape(samples, points, channels)


def make_samples(
    samples: int = 6, points: int = 40, *, named: bool = True, key: int = 1
) -> SampleSet:
    """Random clouds of three classes."""
    return SampleSet(
        points_SND=random_points(samples, points, key=key),
        channels=("x", "y", "z"),
        labels_S=np.arange(samples) % 3,
        class_names=("ball", "cube", "disc"),
        names=tuple(f"cloud_{sample}" for sample in range(samples)) if named else None,
    )
