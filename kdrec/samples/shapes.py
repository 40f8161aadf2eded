"""A data set without a file: parametric shapes from a seed, the same on every machine.

Sample i of a seed is always the same, however many are made; its class is i mod K. Two seeds are
two independent data sets of the same classes: one to train on, one to test on.

Shape letters: S samples, B samples of a block, R candidates for points, N points.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from kdrec import rng
from kdrec.augment import XYZ
from kdrec.errors import InvalidInputError
from kdrec.samples.contents import AnyArray, Arguments, Contents
from kdrec.samples.sample_set import Labels, Points, SampleSet
from kdrec.samples.shape_classes import NUM_DRAWS, SHAPES, Draws
from kdrec.samples.split import Split
from kdrec.samples.surfaces import FloatArray

SHAPE_CLASSES = tuple(SHAPES)

_DEFAULTS: dict[str, int | float] = {"count": 2400, "seed": 0, "num_points": 512, "noise": 0.02}
_BLOCK_VALUES = 2**19  # candidates of a block; bounds memory, changes nothing else
_SHAPE_STREAM, _POINT_STREAM = 1, 2
_NUM_POSES = 8
_GREATEST_CUT = 0.3  # of the surface, taken off by a plane
_GREATEST_TILT = np.pi / 12
_GRID = 2.0**14  # coordinates are multiples of 2^-14: what differs in sin and cos between machines
# is rounded away
_GREATEST_RADIUS = 1 - 2.0**-13  # inside the unit sphere after rounding, too


def make_shapes(
    count: int, *, seed: int = 0, num_points: int = 512, noise: float = 0.02
) -> SampleSet:
    """Shapes of the classes in turn, varied, cut, turned around y, centred, in the unit sphere.

    Args:
        count: How many samples.
        seed: Of the data set, 0 to 2^64 - 1.
        num_points: Of each sample, in random order.
        noise: Standard deviation of a shift of each coordinate, for a shape of radius 1.

    Raises:
        InvalidInputError: A number is out of range.
    """
    _check_numbers(count, num_points, noise)
    points_SN3 = np.empty((count, num_points, 3), dtype=np.float32)
    num_candidates = _num_candidates(num_points)
    step = max(1, _BLOCK_VALUES // num_candidates)
    for start in range(0, count, step):
        samples_B = np.arange(start, min(start + step, count))
        points_SN3[samples_B] = _make_block(samples_B, seed, num_points, noise)
    labels_S = np.arange(count) % len(SHAPES)
    names = tuple(f"{SHAPE_CLASSES[label]}_{sample:05d}" for sample, label in enumerate(labels_S))
    return SampleSet(points_SN3, XYZ, labels_S, SHAPE_CLASSES, names)


class ShapesSource:
    """The built-in shapes."""

    usage = "shapes (built in; arguments count, seed, num_points, noise)"

    def accepts(self, source: str) -> bool:
        """By its name."""
        return source == "shapes"

    def open(self, source: str, arguments: Arguments, split: Split | None) -> Contents:
        """Shapes of the arguments, made when they are asked for."""
        numbers = _parse_arguments(arguments)
        count = int(numbers["count"])
        make = partial(
            make_shapes,
            count,
            seed=int(numbers["seed"]),
            num_points=int(numbers["num_points"]),
            noise=numbers["noise"],
        )
        fields: dict[str, Callable[[], AnyArray]] = {
            "class_names": partial(np.array, SHAPE_CLASSES),
            "label": lambda: np.arange(count) % len(SHAPES),
        }
        return Contents(make, fields)


def _parse_arguments(arguments: Arguments) -> dict[str, int | float]:
    numbers = dict(_DEFAULTS)
    for name, value in arguments.items():
        if name not in _DEFAULTS:
            raise InvalidInputError(
                f"shapes take no argument {name!r}; allowed are {', '.join(_DEFAULTS)}"
            )
        kinds = (int, float) if name == "noise" else (int,)
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise InvalidInputError(
                f"argument {name} of shapes must be "
                f"{'a number' if name == 'noise' else 'a whole number'}, got {value!r}"
            )
        numbers[name] = value
    return numbers


def _check_numbers(count: int, num_points: int, noise: float) -> None:
    if count < 1 or num_points < 1:
        raise InvalidInputError(
            f"shapes need a count and num_points of at least 1, got {count} and {num_points}"
        )
    if not 0 <= noise <= 1:
        raise InvalidInputError(f"noise of shapes must be from 0 to 1, got {noise}")


def _num_candidates(num_points: int) -> int:
    """Points drawn on the whole surface, so that enough are left after the greatest cut."""
    return int(np.ceil(num_points / (1 - _GREATEST_CUT))) + 1


def _make_block(samples_B: Labels, seed: int, num_points: int, noise: float) -> Points:
    num_candidates = _num_candidates(num_points)
    shape_BQ = rng.uniform(_words(seed, _SHAPE_STREAM, samples_B, NUM_DRAWS + _NUM_POSES))
    num_words = 3 * (num_candidates + num_points)
    point_BW = _words(seed, _POINT_STREAM, samples_B, num_words)
    place_BR3 = rng.uniform(point_BW[:, : 3 * num_candidates]).reshape(len(samples_B), -1, 3)
    points_BR3 = _on_surfaces(samples_B % len(SHAPES), shape_BQ[:, :NUM_DRAWS], place_BR3)
    points_BN3 = _pose(points_BR3, shape_BQ[:, NUM_DRAWS:], num_points)
    shift_BN3 = _bell(point_BW[:, 3 * num_candidates :]).reshape(points_BN3.shape)
    points_BN3 = _normalise(_normalise(points_BN3) + noise * shift_BN3)
    return (np.rint(points_BN3 * (_GREATEST_RADIUS * _GRID)) / _GRID).astype(np.float32)


def _words(seed: int, stream: int, samples_B: Labels, num_words: int) -> rng.WordArray:
    return rng.words(seed, view=0, stream=stream, samples_B=samples_B, num_words=num_words)


def _on_surfaces(labels_B: Labels, draws_BQ: FloatArray, place_BR3: FloatArray) -> FloatArray:
    points_BR3 = np.empty_like(place_BR3)
    for label, make_surface in enumerate(SHAPES.values()):
        rows = np.flatnonzero(labels_B == label)
        if len(rows):
            surface = make_surface(Draws(draws_BQ[rows]))
            points_BR3[rows] = surface.sample(place_BR3[rows])
    return points_BR3


def _pose(points_BR3: FloatArray, pose_BQ: FloatArray, num_points: int) -> FloatArray:
    """Stretch, tilt and turn the shapes, and cut a piece off each."""
    stretch_BQ = 0.8 + 0.45 * pose_BQ[:, :3]
    points_BR3 = _normalise(points_BR3) * stretch_BQ[:, None, :]
    tilt_x, tilt_z = ((2 * pose_BQ[:, 3:5] - 1) * _GREATEST_TILT).T
    for axis, angle_B in ((0, tilt_x), (2, tilt_z), (1, 2 * np.pi * pose_BQ[:, 5])):
        points_BR3 = _rotate(points_BR3, axis, angle_B)
    return _cut(points_BR3, pose_BQ[:, 6], _GREATEST_CUT * pose_BQ[:, 7], num_points)


def _rotate(points_BR3: FloatArray, axis: int, angle_B: FloatArray) -> FloatArray:
    cosine_B1, sine_B1 = np.cos(angle_B)[:, None], np.sin(angle_B)[:, None]
    one, two = points_BR3[..., (axis + 1) % 3], points_BR3[..., (axis + 2) % 3]
    rotated_BR3 = points_BR3.copy()
    rotated_BR3[..., (axis + 1) % 3] = cosine_B1 * one - sine_B1 * two
    rotated_BR3[..., (axis + 2) % 3] = sine_B1 * one + cosine_B1 * two
    return rotated_BR3


def _cut(
    points_BR3: FloatArray, tilt_B: FloatArray, share_B: FloatArray, num_points: int
) -> FloatArray:
    """The first points on one side of a plane that leaves a share of them on the other.

    The plane's normal lies in x and y: a turn around y comes before, so every side is cut.
    """
    angle_B1 = 2 * np.pi * tilt_B[:, None]
    depth_BR = points_BR3[..., 0] * np.cos(angle_B1) + points_BR3[..., 1] * np.sin(angle_B1)
    kept_B = np.floor((1 - share_B) * points_BR3.shape[1]).astype(np.int64)
    limit_B = np.sort(depth_BR, axis=1)[np.arange(len(points_BR3)), kept_B - 1]
    beyond_BR = depth_BR > limit_B[:, None]
    order_BN = np.argsort(beyond_BR, axis=1, kind="stable")[:, :num_points]
    return np.take_along_axis(points_BR3, order_BN[..., None], axis=1)


def _normalise(points_BN3: FloatArray) -> FloatArray:
    centred_BN3 = points_BN3 - points_BN3.mean(axis=1, keepdims=True)
    x_BN, y_BN, z_BN = (centred_BN3[..., axis] for axis in range(3))
    radius_B = np.sqrt((x_BN * x_BN + y_BN * y_BN + z_BN * z_BN).max(axis=1))
    scaled_BN3: FloatArray = centred_BN3 / np.where(radius_B == 0, 1.0, radius_B)[:, None, None]
    return scaled_BN3


def _bell(words_BW: rng.WordArray) -> FloatArray:
    """Nearly normal numbers of deviation 1: four 16-bit numbers of a word, added up.

    Integers only, unlike the logarithm and cosine of the usual ways, so equal on every machine.
    """
    mask = np.uint64(0xFFFF)
    total = sum((words_BW >> np.uint64(shift)) & mask for shift in (0, 16, 32, 48))
    bell_BW: FloatArray = (np.asarray(total, dtype=np.float64) / 2.0**16 - 2.0) * np.sqrt(3.0)
    return bell_BW
