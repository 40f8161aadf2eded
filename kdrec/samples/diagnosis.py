"""Why two clouds that should be the same are not, as far as their sketches tell.

Everything is judged relative to the size of the cloud. The order of the checks matters: what is
special (shifted, axes exchanged) before what is general (turned, other points, another cloud).

Shape letters: P the four points of a sketch, N points.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_CLOSE = 1e-3  # of the radius: far above rounding, far below any other preprocessing
_SAME = 1e-5  # of the radius: centroids and radii of the same points in another order


@dataclass(frozen=True, slots=True)
class _Cloud:
    """A sketch by its parts."""

    centroid: FloatArray
    radius: float
    points_P3: FloatArray

    @classmethod
    def of(cls, sketch: npt.ArrayLike) -> "_Cloud":
        values = np.asarray(sketch, dtype=np.float64)
        return cls(values[:3], float(values[3]), values[4:].reshape(-1, 3))

    @property
    def normalised(self) -> FloatArray:
        """The points once centred and scaled."""
        unit_P3: FloatArray = (self.points_P3 - self.centroid) / (self.radius or 1.0)
        return unit_P3


def explain(recorded_sketch: npt.ArrayLike, sketch: npt.ArrayLike, points_N3: FloatArray) -> str:
    """What the matter is with a sample and what to do, as the end of a message.

    Args:
        recorded_sketch: Of the sample in the recording, 16 numbers.
        sketch: Of the sample here.
        points_N3: Coordinates of the sample here.
    """
    recorded, here = _Cloud.of(recorded_sketch), _Cloud.of(sketch)
    if np.array_equal(recorded_sketch, sketch):
        return (
            "centroid, radius and the four points of its sketch are those recorded, so other "
            "points differ, or columns after x, y, z; load the data the recording was made from"
        )
    return (
        _explain_frame(recorded, here)
        or _explain_points(recorded, here, points_N3)
        or "its content is another; load the data the recording was made from"
    )


def are_close(recorded_sketch: npt.ArrayLike, sketch: npt.ArrayLike) -> bool:
    """Whether two sketches differ by no more than rounding or another storage type explains."""
    difference = np.abs(np.subtract(sketch, recorded_sketch, dtype=np.float64)).max()
    return bool(difference <= _CLOSE * _Cloud.of(recorded_sketch).radius)


def _explain_frame(recorded: _Cloud, here: _Cloud) -> str | None:
    """Shifted, scaled, axes exchanged or turned: the same shape in another frame."""
    if recorded.radius == 0 or here.radius == 0:
        return None
    remedy = "normalise the points as the recording's data were"
    for axes, matrix in _axis_frames():
        if not _agree(here.normalised, recorded.normalised @ matrix.T):
            continue
        moved = _describe_move(recorded, here, matrix)
        if axes == "x, y, z":
            return f"{moved}; {remedy}"
        also = f", and {moved}" if moved else ""
        return f"its x, y, z are {axes} of the recording{also}; put the axes back"
    if _agree(here.normalised @ here.normalised.T, recorded.normalised @ recorded.normalised.T):
        return f"it is the recorded cloud turned by some angle; {remedy}, without rotation"
    return None


def _explain_points(recorded: _Cloud, here: _Cloud, points_N3: FloatArray) -> str | None:
    """The recorded points stand elsewhere, or only some of them are here."""
    limit = _SAME * recorded.radius
    distances = [np.abs(points_N3 - point).max(axis=1).min() for point in recorded.points_P3]
    same_place = bool(np.abs(here.centroid - recorded.centroid).max() <= limit)
    same_place = same_place and abs(here.radius - recorded.radius) <= limit
    if max(distances) <= limit and same_place:
        return (
            "its points are those recorded in another order (same centroid, same radius); "
            "load them in the recorded order, without shuffling points"
        )
    if distances[0] <= limit:
        return (
            "it shares points with the recorded sample, but others were chosen of the cloud; "
            "use the recording's point choice (first or farthest) and no random choice"
        )
    return None


def _axis_frames() -> Iterator[tuple[str, FloatArray]]:
    """The 48 ways to exchange and flip axes, fewest flips first, x, y, z itself first of all."""
    frames = itertools.product(
        itertools.permutations(range(3)), itertools.product((1.0, -1.0), repeat=3)
    )
    for axes, signs in sorted(frames, key=lambda frame: (-sum(frame[1]), frame[0])):
        names = ("-" * (sign < 0) + "xyz"[axis] for axis, sign in zip(axes, signs, strict=True))
        yield ", ".join(names), np.eye(3)[list(axes)] * np.array(signs)[:, None]


def _describe_move(recorded: _Cloud, here: _Cloud, matrix: FloatArray) -> str:
    """`points here = s * recorded + t`, without what does nothing; empty if nothing is left."""
    scale = here.radius / recorded.radius
    shift = here.centroid - scale * (matrix @ recorded.centroid)
    scaled = abs(scale - 1) > _CLOSE
    shifted = bool(np.abs(shift).max() > _CLOSE * here.radius)
    if not scaled and not shifted:
        return ""
    offset = ", ".join(f"{value:.4g}" for value in np.where(np.abs(shift) < 1e-9, 0.0, shift))
    what = "scaled and not centred alike" if scaled and shifted else "scaled otherwise"
    return (
        f"points here = {scale:.6g} * recorded + ({offset}) "
        f"({what if scaled else 'not centred alike'})"
    )


def _agree(one: FloatArray, other: FloatArray) -> bool:
    return bool(np.abs(one - other).max() <= _CLOSE)
