"""What a sample is, in 16 bytes, and what it looks like, in 16 numbers.

The digest says whether a sample is the recorded one; the sketch says why it is not.

Shape letters: S samples, N points, D channels.
"""

import hashlib
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from kdrec.samples.room import make_room
from kdrec.samples.sample_set import SampleSet

DIGEST_SIZE = 16
SKETCH_SIZE = 16
_SAMPLES_AT_ONCE = 1024

Digests: TypeAlias = npt.NDArray[np.uint8]
Sketches: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class SampleIdentity:
    """Everything by which samples are recognised.

    Attributes:
        digests: (S, 16), BLAKE2b over shape, channel names and little-endian float32 values.
        sketches: (S, 16): centroid xyz, radius (greatest distance from it), then the points at
            0, N // 3, 2 N // 3 and N - 1.
        labels_S: None without labels.
        class_names: None without names.
        channels: Columns of a point.
        num_points: N.
    """

    digests: Digests
    sketches: Sketches
    labels_S: npt.NDArray[np.int64] | None
    class_names: tuple[str, ...] | None
    channels: tuple[str, ...]
    num_points: int

    def __len__(self) -> int:
        return len(self.digests)

    @property
    def digest(self) -> str:
        """SHA-256 over everything but the sketches, in hexadecimal.

        Of N, the number of points, the channels, an empty line and the class names, a line each,
        then a zero byte, the digests in order, and the labels as little-endian 64-bit integers.
        """
        whole = hashlib.sha256()
        header = [
            str(len(self)),
            str(self.num_points),
            *self.channels,
            "",
            *(self.class_names or ()),
        ]
        whole.update("\n".join(header).encode() + b"\0")
        whole.update(np.ascontiguousarray(self.digests).reshape(-1).data)
        if self.labels_S is not None:
            whole.update(np.ascontiguousarray(self.labels_S, "<i8").data)
        return whole.hexdigest()


def identify(samples: SampleSet) -> SampleIdentity:
    """Digests and sketches of all samples."""
    return SampleIdentity(
        digests=_digests(samples),
        sketches=_sketches(samples.points_SND),
        labels_S=samples.labels_S,
        class_names=samples.class_names,
        channels=samples.channels,
        num_points=samples.num_points,
    )


def _digests(samples: SampleSet) -> Digests:
    header = "\n".join([str(samples.points_SND.shape[1]), *samples.channels]).encode() + b"\0"
    digests: Digests = make_room((len(samples), DIGEST_SIZE), np.uint8)
    for sample, cloud in enumerate(samples.points_SND):
        data = header + cloud.astype("<f4").tobytes()
        digest = hashlib.blake2b(data, digest_size=DIGEST_SIZE).digest()
        digests[sample] = np.frombuffer(digest, dtype=np.uint8)
    return digests


def _sketches(points_SND: npt.NDArray[np.float32]) -> Sketches:
    sketches: Sketches = make_room((len(points_SND), SKETCH_SIZE), np.float32)
    for start in range(0, len(points_SND), _SAMPLES_AT_ONCE):
        rows = slice(start, start + _SAMPLES_AT_ONCE)
        sketches[rows] = _sketch(points_SND[rows])
    return sketches


def _sketch(points_SND: npt.NDArray[np.float32]) -> Sketches:
    xyz_SN3 = points_SND[..., :3]
    count = xyz_SN3.shape[1]
    centroid_S3 = xyz_SN3.mean(axis=1, dtype=np.float64)
    radius_S = np.linalg.norm(xyz_SN3 - centroid_S3[:, None], axis=2).max(axis=1)
    places = [0, count // 3, 2 * count // 3, count - 1]
    corners = xyz_SN3[:, places].reshape(len(points_SND), -1)
    parts = [centroid_S3, radius_S[:, None], corners]
    return np.concatenate(parts, axis=1).astype(np.float32)
