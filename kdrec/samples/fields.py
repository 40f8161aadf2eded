"""From the named arrays of a file to samples, for every kind of file that holds named arrays.

Shape letters: S samples, N points, D channels, F columns of a feature.
"""

from collections.abc import Sequence

import numpy as np

from kdrec.augment import NORMAL, XYZ, default_channels
from kdrec.errors import InvalidInputError
from kdrec.samples.contents import AnyArray, Fields
from kdrec.samples.sample_set import Labels, Points, SampleSet

POINT_FIELDS = ("xyz", "points", "data")
LABEL_FIELDS = ("label", "labels", "y")
CLASS_FIELDS = ("class_names", "classes")
_NAME_FIELDS = ("name", "names")
_NORMAL_FIELDS = ("normal", "normals")
_COLOUR_FIELDS = ("color", "colors", "rgb")
_FEATURE_FIELDS = ("feature", "features")
_COLOURS = ("red", "green", "blue")
_WIDEST_FRACTION = 2  # bytes
_MOST_COLUMNS = 16  # beyond this, three "points" are three coordinates of an array turned around


def build_samples(fields: Fields, where: str) -> SampleSet:
    """The samples that named arrays describe.

    Points are called `xyz`, `points` or `data`, shape (S, N, D). All else is optional: `label`
    (`labels`, `y`), `class_names` (`classes`), `name` (`names`), and what is appended to the
    points as channels, in this order: `normal` (`normals`), `color` (`colors`, `rgb`), `feature`
    (`features`), shape (S, N, F) or (S, N). Integers of 8 and 16 bits are divided by the greatest
    value of their type; wider ones are no such fractions, and refused.

    Args:
        fields: Reads the arrays.
        where: Name of the file, for messages.

    Raises:
        InvalidInputError: No points, two arrays for one purpose, or what does not fit together.
    """
    points, channels = _read_points(fields, where)
    labels = _read(fields, LABEL_FIELDS, where)
    return SampleSet(
        points,
        channels,
        labels_S=None if labels is None else to_labels(labels, where),
        class_names=_read_texts(fields, CLASS_FIELDS, where),
        names=_read_texts(fields, _NAME_FIELDS, where),
    )


def decode(texts: AnyArray) -> tuple[str, ...]:
    """Strings of an array of str or UTF-8 bytes."""
    return tuple(
        text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
        for text in texts.reshape(-1).tolist()
    )


def to_labels(labels: AnyArray, where: str) -> Labels:
    """Labels of shape (S,) or (S, 1) as int64.

    Raises:
        InvalidInputError: Another shape, or no whole numbers.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise InvalidInputError(
            f"labels of {where} must be one number a sample, got shape {labels.shape}"
        )
    if not _are_whole(labels):
        raise InvalidInputError(
            f"labels of {where} must be whole numbers from 0, got {labels.dtype} such as "
            f"{labels[:1].tolist()}"
        )
    return labels.astype(np.int64)


def _are_whole(values: AnyArray) -> bool:
    if values.dtype.kind != "f":
        return values.dtype.kind in "biu"
    return bool(np.isfinite(values).all() and (values % 1 == 0).all())


def find_field(fields: Sequence[str] | Fields, names: Sequence[str], where: str) -> str | None:
    """Which of several names for one thing there is, None without any.

    Raises:
        InvalidInputError: There are two.
    """
    present = [name for name in names if name in fields]
    if len(present) > 1:
        raise InvalidInputError(
            f"{where} holds {' and '.join(present)}, which mean the same here; keep one of them"
        )
    return present[0] if present else None


def _read(fields: Fields, names: Sequence[str], where: str) -> AnyArray | None:
    name = find_field(fields, names, where)
    return None if name is None else fields[name]()


def _read_texts(fields: Fields, names: Sequence[str], where: str) -> tuple[str, ...] | None:
    texts = _read(fields, names, where)
    return None if texts is None else decode(texts)


def _read_points(fields: Fields, where: str) -> tuple[Points, tuple[str, ...]]:
    name = find_field(fields, POINT_FIELDS, where)
    if name is None:
        raise InvalidInputError(
            f"{where} holds no points; they must be called {', '.join(POINT_FIELDS)}, "
            f"there are {', '.join(fields) or 'no arrays'}"
        )
    points = _to_float(fields[name](), f"{name} of {where}")
    _check_layout(points, f"{name} of {where}")
    parts, channels = [points], default_channels(points.shape[2])
    for feature, columns in _read_features(fields, where):
        if columns.shape[:2] != points.shape[:2] or columns.ndim != 3:
            raise InvalidInputError(
                f"{feature} of {where} must go with the points {points.shape}, shape "
                f"({points.shape[0]}, {points.shape[1]}, columns), got {columns.shape}"
            )
        parts.append(columns)
        channels += _feature_names(feature, columns.shape[2], len(channels))
    return (parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)), channels


def _read_features(fields: Fields, where: str) -> list[tuple[str, Points]]:
    features = []
    for names in (_NORMAL_FIELDS, _COLOUR_FIELDS, _FEATURE_FIELDS):
        name = find_field(fields, names, where)
        if name is not None:
            columns = _to_float(fields[name](), f"{name} of {where}")
            features.append((name, columns[..., None] if columns.ndim == 2 else columns))
    return features


def _feature_names(feature: str, count: int, start: int) -> tuple[str, ...]:
    if feature in _NORMAL_FIELDS and count == 3:
        return NORMAL
    if feature in _COLOUR_FIELDS and count == 3:
        return _COLOURS
    first = start - len(XYZ)
    return tuple(f"feature_{first + column}" for column in range(count))


def _check_layout(points: Points, what: str) -> None:
    if points.ndim != 3:
        raise InvalidInputError(
            f"{what} must have shape (samples, points, columns), got {points.shape}"
        )
    if points.shape[1] == len(XYZ) and points.shape[2] > _MOST_COLUMNS:
        raise InvalidInputError(
            f"{what} has shape {points.shape}, which is {len(XYZ)} points of {points.shape[2]} "
            "columns; if columns come before points, exchange the last two axes of the array"
        )


def _to_float(values: AnyArray, what: str) -> Points:
    if values.dtype.kind in "iu":
        if values.dtype.itemsize > _WIDEST_FRACTION:
            raise InvalidInputError(
                f"{what} has the type {values.dtype}: integers of 8 or 16 bits are fractions of "
                "their greatest value, of wider ones nobody knows the unit; save them as float32 "
                "in the unit that the teacher expects"
            )
        scaled: Points = values.astype(np.float32)
        scaled /= np.float32(np.iinfo(values.dtype).max)
        return scaled
    if values.dtype.kind != "f":
        raise InvalidInputError(
            f"{what} must be floating-point numbers or integers, got {values.dtype}"
        )
    with np.errstate(over="ignore"):  # becomes inf, which is refused with the number of the sample
        return np.ascontiguousarray(values, dtype=np.float32)
